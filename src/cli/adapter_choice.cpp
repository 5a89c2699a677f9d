#include "adapter_choice.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <set>

#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/train/checkpoint.h"

namespace jointtuner::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAdapterName = "adapter.safetensors";

bool is_number(const std::string& text) {
  return !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == std::string::npos;
}

/// runs/NAME/checkpoints/step_00000500/adapter.safetensors -> NAME; x/corgi.safetensors -> corgi.
std::string source_name(const fs::path& file) {
  const fs::path full = fs::weakly_canonical(file);
  if (full.filename() != kAdapterName) return full.stem().string();
  fs::path folder = full.parent_path();
  if (folder.parent_path().filename() == "checkpoints") folder = folder.parent_path().parent_path();
  return folder.filename().string();
}

/// The file itself, or that of a checkpoint's or run's folder.
fs::path adapter_file(const fs::path& path) {
  if (fs::is_directory(path)) {
    if (fs::exists(path / kAdapterName)) return path / kAdapterName;
    throw UsageError(
        fmt::format("{}: expected a checkpoint's or run's folder with {}, found none", path.string(), kAdapterName));
  }
  if (!fs::exists(path)) throw UsageError(fmt::format("{}: there is no such adapter file or folder", path.string()));
  if (path.extension() == ".pt")
    throw UsageError(
        fmt::format("{0}: a published list does not say which layers it is for; convert it first: jointtuner "
                    "convert {0} adapter.safetensors --backbone BUNDLE",
                    path.string()));
  return path;
}

std::vector<fs::path> run_adapters(const fs::path& run, const std::string& checkpoint) {
  if (checkpoint.empty() || checkpoint == "last") {
    if (fs::exists(run / kAdapterName)) return {run / kAdapterName};
    throw UsageError(fmt::format("{}: the run has no checkpoint yet; train it first", run.string()));
  }
  std::vector<fs::path> files;
  std::string steps;
  for (const auto& [step, folder] : train::list_checkpoints(run / "checkpoints")) {
    if (checkpoint == "all" || (is_number(checkpoint) && std::stoll(checkpoint) == step))
      files.push_back(folder / kAdapterName);
    steps += fmt::format("{}{}", steps.empty() ? "" : ", ", step);
  }
  if (files.empty())
    throw UsageError(fmt::format("--checkpoint {}: expected all, last or a step; {} has {}", checkpoint, run.string(),
                                 steps.empty() ? "no checkpoint yet" : "checkpoints of the steps " + steps));
  return files;
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

void add_adapter_options(CLI::App& command, AdapterChoice& choice) {
  command.add_option("--run", choice.run, "folder of a run: its backbone, adapter and settings")
      ->option_text("runs/NAME");
  command
      .add_option("--adapter", choice.adapters, "adapter file or checkpoint folder, instead of the run's (repeatable)")
      ->option_text("PATH")
      ->take_all();
  command.add_option("--checkpoint", choice.checkpoint, "of the run: all, last (the default) or a step")
      ->option_text("WHICH");
}

std::vector<adapter::AdapterFile> chosen_adapters(const AdapterChoice& choice) {
  if (!choice.checkpoint.empty() && (choice.run.empty() || !choice.adapters.empty()))
    throw UsageError("--checkpoint chooses among a run's checkpoints: give it with --run and without --adapter");
  std::vector<fs::path> paths;
  for (const std::string& path : choice.adapters) paths.push_back(adapter_file(path));
  if (choice.adapters.empty() && !choice.run.empty()) paths = run_adapters(choice.run, choice.checkpoint);
  std::vector<adapter::AdapterFile> files;
  for (const fs::path& path : paths) {
    files.push_back(adapter::load_adapter_header(path));
    if (files.back().metadata.gated != files.front().metadata.gated)
      throw UsageError(fmt::format("{} and {}: one of them is gated, the other is not; sample them one after the other",
                                   files.front().path.string(), path.string()));
  }
  return files;
}

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

}  // namespace jointtuner::cli
