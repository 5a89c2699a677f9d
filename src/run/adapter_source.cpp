#include "jointtuner/run/adapter_source.h"

#include <fmt/format.h>

#include <fstream>

#include "jointtuner/adapter/published_list.h"
#include "jointtuner/base/error.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/run/adapter_metadata.h"

namespace jointtuner::run {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDown = ".lora_down";

std::vector<adapter::Site> backbone_sites(const backbone::Bundle& bundle, bool gated) {
  return inject::GraphProgram(bundle, at::kCPU, {.gated = gated}).sites();
}

const at::Tensor& tensor_of(const adapter::AdapterFile& file, const std::string& name) {
  for (const auto& [key, tensor] : file.tensors)
    if (key == name) return tensor;
  throw Error(fmt::format("{}: has no tensor {}", file.path.string(), name));
}

/// The sites that the file itself names, without their groups.
std::vector<adapter::Site> stated_sites(const adapter::AdapterFile& file) {
  std::vector<adapter::Site> sites;
  for (const auto& [key, down] : file.tensors) {
    if (!key.ends_with(kDown)) continue;
    const std::string path = key.substr(0, key.size() - kDown.size());
    sites.push_back({path, "", down.size(1), tensor_of(file, path + ".lora_up").size(0)});
  }
  return sites;
}

int64_t step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string digits = name.substr(0, name.find_first_not_of("0123456789"));
  return digits.empty() || digits.size() > 9 ? 0 : std::stoll(digits);
}

}  // namespace

bool is_published_list(const fs::path& path) {
  std::string bytes(2, '\0');
  std::ifstream(path, std::ios::binary).read(bytes.data(), 2);
  return bytes == "PK" || path.extension() == ".pt";
}

AdapterSource own_adapter(const fs::path& path, const std::string& bundle_folder) {
  const adapter::AdapterFile file = adapter::load_adapter(path);
  if (bundle_folder.empty())
    return {adapter::match_adapter(file, stated_sites(file), file.metadata.denoiser_sha256, at::kCPU), file.metadata};
  const auto bundle = backbone::Bundle::open(bundle_folder);
  const std::string sha256 = bundle.sha256(bundle.manifest().denoiser.file);
  return {adapter::match_adapter(file, backbone_sites(bundle, file.metadata.gated), sha256, at::kCPU), file.metadata};
}

AdapterSource published_adapter(const fs::path& path, const std::string& bundle_folder,
                                const std::string& gate_pooling) {
  if (bundle_folder.empty())
    throw UsageError(fmt::format("{}: a published list has no names; say with --backbone BUNDLE for which layers it is",
                                 path.string()));
  const auto tensors = adapter::load_published_list(path);
  const auto bundle = backbone::Bundle::open(bundle_folder);
  auto adapters = adapter::match_published_list(tensors, backbone_sites(bundle, true), path, at::kCPU);
  adapter::AdapterOptions trained;
  trained.rank = adapters.rank();
  trained.gate = adapters.gated();
  trained.gate_pooling = gate_pooling;
  adapter::AdapterMetadata metadata = adapter_metadata(trained, diffusion::LossOptions{}, bundle);
  metadata.step = step_of(path);
  return {std::move(adapters), metadata};
}

}  // namespace jointtuner::run
