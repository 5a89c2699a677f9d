#include "jointtuner/run/inspected.h"

#include <fmt/format.h>

#include <algorithm>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/adapter/published_list.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/base/sha256.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/run/adapter_source.h"
#include "jointtuner/run/facts.h"
#include "jointtuner/sample/latents_file.h"
#include "jointtuner/train/checkpoint.h"

namespace jointtuner::run {
namespace {

namespace fs = std::filesystem;

Json described(const char* kind, const fs::path& path) { return {{"kind", kind}, {"path", path.string()}}; }

/// Of gated adapters at the usual ranks, as far as the sites allow them.
Json parameters_by_rank(const backbone::Bundle& bundle) {
  const inject::GraphProgram program(bundle, at::kCPU);
  Json out = Json::object();
  for (const int64_t rank : {8, 32, 128}) {
    int64_t total = 0, most = rank;
    for (const adapter::Site& site : program.sites()) {
      total += parameters(site, rank, /*gated=*/true);
      most = std::min({most, site.in_features, site.out_features});
    }
    if (most == rank) out[fmt::format("rank {}", rank)] = total;
  }
  return out;
}

Json bundle_of(const fs::path& path) {
  const auto bundle = backbone::Bundle::open(path, backbone::Verify::contents);
  const backbone::Manifest& m = bundle.manifest();
  Json out = described("bundle", path);
  const Json facts = backbone_facts(bundle);
  for (const auto& [key, value] : facts.items())
    if (key != "path") out[key] = value;
  out["latents"] = fmt::format("{} channels, 1/{} of the size, 1/{} of the frames, scaled by {:g}", m.latents.channels,
                               m.latents.spatial_compression, m.latents.temporal_compression, m.latents.scaling_factor);
  out["text"] = fmt::format(
      "{}, at most {} tokens",
      std::holds_alternative<backbone::ClipBpeManifest>(m.text.tokenizer) ? "CLIP's byte pairs" : "SentencePiece",
      m.text.max_length);
  for (const auto& rule : m.denoiser.adapter_rules) out["sites"][rule.group] = rule.sites;
  out["adapter parameters"] = parameters_by_rank(bundle);
  for (const auto& [name, file] : m.files) out["files"][name] = {{"bytes", file.bytes}, {"sha256", file.sha256}};
  out["exporter"] = m.exporter;
  out["verified"] = "all files have the SHA-256 that bundle.json states";
  return out;
}

Json run_of(const fs::path& path) {
  Json out = described("run", path);
  const Json config = Json::parse(read_file(path / "config.json"), nullptr, false);
  if (!config.is_object())
    throw Error(fmt::format("{}: expected a run's config, found no JSON object", (path / "config.json").string()));
  const auto field = [&](const char* pointer) { return config.value(Json::json_pointer(pointer), Json()); };
  out["name"] = field("/run/name");
  out["program"] = config.value("program", Json());
  out["bundle"] = field("/backbone/bundle");
  out["steps"] = field("/train/steps");
  out["checkpoints"] = Json::array();
  for (const auto& [step, folder] : train::list_checkpoints(path / "checkpoints")) out["checkpoints"].push_back(step);
  if (fs::exists(path / "adapter.safetensors")) out["adapter"] = inspected(path / "adapter.safetensors");
  return out;
}

Json checkpoint_of(const fs::path& path) {
  const train::CheckpointState state = train::load_checkpoint_state(path);
  Json out = described("checkpoint", path);
  out["step"] = state.step;
  out["epoch"] = state.epoch;
  out["data_hash"] = state.identity.data_hash;
  out["adapter"] = inspected(path / "adapter.safetensors");
  out["verified"] = "both files have the SHA-256 that state.json states";
  return out;
}

Json adapter_of(const fs::path& path) {
  const adapter::AdapterFile file = adapter::load_adapter(path);
  const adapter::AdapterMetadata& m = file.metadata;
  int64_t values = 0;
  for (const auto& [name, tensor] : file.tensors) values += tensor.numel();
  Json out = described("adapter", path);
  out["family"] = m.family;
  out["step"] = m.step;
  out["rank"] = m.rank;
  out["sites"] = file.tensors.size() / (m.gated ? 3 : 2);
  out["parameters"] = values;
  out["gate"] =
      m.gated ? "yes, pooled by " + adapter::gate_pooling_text(m.gate_pooling) : std::string("no (plain LoRA)");
  out["scale"] = m.scale;
  out["dropout"] = m.dropout;
  out["trained with"] = m.trained_with;
  out["denoiser_sha256"] = m.denoiser_sha256;
  out["data_hash"] = m.data_hash;
  return out;
}

Json tensors_of(const Safetensors& file) {
  Json rows = Json::object();
  for (const auto& [name, tensor] : file.tensors)
    rows[name] = fmt::format("{} {}", shape_text(tensor.sizes()), c10::toString(tensor.scalar_type()));
  return rows;
}

Json safetensors_of(const fs::path& path) {
  const Safetensors file = load_safetensors_header(path);
  const auto format = file.metadata.find("format");
  const std::string name = format == file.metadata.end() ? "" : format->second;
  if (name == "jointtuner-adapter") return adapter_of(path);
  Json out = described("safetensors", path);
  if (file.contains("latents")) {
    out["kind"] = "latents";
    const std::string settings = sample::load_latents_header(path).settings;
    if (!settings.empty()) out["settings"] = Json::parse(settings);
  } else if (name.starts_with("jointtuner-cache")) {
    out["kind"] = "cache entry";
    out["key"] = file.metadata;
  } else if (file.contains("exp_avg")) {
    out["kind"] = "optimizer state";
  } else if (!file.metadata.empty()) {
    out["metadata"] = file.metadata;
  }
  out["tensors"] = tensors_of(file);
  return out;
}

/// Triples (up [M,R], down [R,K], gate [1,K]), or pairs (up, down) of plain LoRA.
Json published_of(const fs::path& path) {
  const std::vector<at::Tensor> tensors = adapter::load_published_list(path);
  Json out = described("published list", path);
  out["tensors"] = tensors.size();
  if (tensors.size() >= 2 && tensors[0].dim() == 2) {
    const bool gated = tensors.size() % 3 == 0 && tensors[2].dim() == 2 && tensors[2].size(0) == 1;
    out["rank"] = tensors[0].size(1);
    out["sites"] = tensors.size() / (gated ? 3 : 2);
    out["gate"] = gated ? "yes" : "no (plain LoRA)";
  }
  int64_t values = 0;
  for (const at::Tensor& tensor : tensors) values += tensor.numel();
  out["parameters"] = values;
  out["use"] = "jointtuner convert it with --backbone BUNDLE: it does not say which layers it is for";
  return out;
}

}  // namespace

Json inspected(const fs::path& path) {
  if (!fs::exists(path)) throw Error(fmt::format("{}: there is no such file or folder", path.string()));
  if (fs::is_directory(path)) {
    if (fs::exists(path / "bundle.json")) return bundle_of(path);
    if (fs::exists(path / "state.json")) return checkpoint_of(path);
    if (fs::exists(path / "config.json")) return run_of(path);
    throw Error(fmt::format(
        "{}: neither a bundle (bundle.json), nor a run (config.json), nor a checkpoint (state.json)", path.string()));
  }
  Json out = is_published_list(path) ? published_of(path) : safetensors_of(path);
  out["bytes"] = fs::file_size(path);
  out["sha256"] = sha256_file(path);
  return out;
}

}  // namespace jointtuner::run
