#include "adapter_choice.h"

#include <fmt/format.h>

#include <CLI/App.hpp>

#include "jointtuner/base/error.h"
#include "jointtuner/train/checkpoint.h"

namespace jointtuner::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAdapterName = "adapter.safetensors";

bool is_number(const std::string& text) {
  return !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == std::string::npos;
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

}  // namespace jointtuner::cli
