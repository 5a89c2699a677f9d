#include "jointtuner/adapter/plain_lora.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "jointtuner/base/error.h"
#include "jointtuner/base/safetensors.h"

namespace jointtuner::adapter {

void export_plain_lora(const std::filesystem::path& path, const AdapterSet& adapters, double scale, double gate,
                       const std::string& prefix) {
  if (!(gate > 0 && gate <= 1))
    throw Error(fmt::format("gate: expected a number above 0 and at most 1, found {}", gate));
  const at::NoGradGuard no_grad;
  const double factor = adapters.gated() ? scale * gate : scale;
  Safetensors file;
  file.metadata = {{"format", "pt"}, {"jointtuner_gate", adapters.gated() ? fmt::format("constant {}", gate) : "none"}};
  for (size_t i = 0; i < adapters.size(); ++i) {
    const std::string site = prefix + adapters.sites()[i].path;
    file.tensors.emplace_back(site + ".lora_A.weight", adapters.at(i).down.detach());
    file.tensors.emplace_back(site + ".lora_B.weight", adapters.at(i).up.detach().mul(factor));
  }
  save_safetensors(path, file);
}

}  // namespace jointtuner::adapter
