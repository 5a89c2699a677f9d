#include "jointtuner/run/adapter_metadata.h"

#include <fmt/format.h>

namespace jointtuner::run {

adapter::AdapterMetadata adapter_metadata(const adapter::AdapterOptions& options, const diffusion::LossOptions& loss,
                                          const backbone::Bundle& bundle) {
  adapter::AdapterMetadata metadata;
  metadata.rank = options.rank;
  metadata.scale = options.scale;
  metadata.dropout = options.dropout;
  metadata.gated = options.gate;
  metadata.gate_pooling = adapter::gate_pooling_from_text(options.gate_pooling);
  metadata.family = bundle.manifest().family;
  metadata.denoiser_sha256 = bundle.sha256(bundle.manifest().denoiser.file);
  diffusion::LossOptions::fields(loss, [&](const char* name, const auto& value, const auto&...) {
    metadata.trained_with[fmt::format("loss_{}", name)] = fmt::format("{}", value);
  });
  return metadata;
}

}  // namespace jointtuner::run
