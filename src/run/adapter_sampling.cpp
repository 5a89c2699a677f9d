#include "jointtuner/run/adapter_sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "jointtuner/base/log.h"
#include "jointtuner/inject/graph_program.h"

namespace jointtuner::run {
namespace {

namespace fs = std::filesystem;

/// runs/NAME/checkpoints/step_00000500/adapter.safetensors -> NAME; x/corgi.safetensors -> corgi.
std::string source_name(const fs::path& file) {
  const fs::path full = fs::weakly_canonical(file);
  if (full.filename() != "adapter.safetensors") return full.stem().string();
  fs::path folder = full.parent_path();
  if (folder.parent_path().filename() == "checkpoints") folder = folder.parent_path().parent_path();
  return folder.filename().string();
}

/// "step 500", with the file's or run's name before it where steps do not tell them apart.
std::vector<std::string> adapter_labels(const std::vector<adapter::AdapterFile>& files) {
  std::set<int64_t> steps;
  for (const auto& file : files)
    if (file.metadata.step > 0) steps.insert(file.metadata.step);
  std::vector<std::string> labels;
  for (const auto& file : files) {
    const std::string step = file.metadata.step > 0 ? fmt::format("step {}", file.metadata.step) : "";
    const bool told_apart = steps.size() == files.size();
    const std::string label =
        told_apart ? step : fmt::format("{}{}{}", source_name(file.path), step.empty() ? "" : " ", step);
    const auto copies = std::count(labels.begin(), labels.end(), label);
    labels.push_back(copies == 0 ? label : fmt::format("{} ({})", label, copies + 1));
  }
  return labels;
}

}  // namespace

std::vector<sample::Video> denoise_with(const std::vector<adapter::AdapterFile>& headers, sample::Sampling& sampling,
                                        const backbone::Bundle& bundle, c10::Device device, const fs::path& folder) {
  const bool gated = headers.empty() || headers.front().metadata.gated;
  const inject::GraphProgram program(bundle, device, {.gated = gated});
  if (headers.empty()) {
    log_info("no adapter: the frozen backbone is sampled");
    return sampling.denoise(program, {}, folder);
  }
  const std::vector<std::string> labels = adapter_labels(headers);
  std::vector<sample::Video> videos;
  for (size_t i = 0; i < headers.size(); ++i) {
    const adapter::AdapterFile file = adapter::load_adapter(headers[i].path);
    const auto set =
        adapter::match_adapter(file, program.sites(), bundle.sha256(bundle.manifest().denoiser.file), device);
    const auto made =
        sampling.denoise(program, {labels[i], &set, file.metadata}, folder, static_cast<int64_t>(videos.size()));
    videos.insert(videos.end(), made.begin(), made.end());
  }
  return videos;
}

}  // namespace jointtuner::run
