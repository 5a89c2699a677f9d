#include "jointtuner/run/memory_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "jointtuner/base/bytes.h"
#include "jointtuner/base/device.h"
#include "jointtuner/base/log.h"
#include "jointtuner/forecast/fit.h"
#include "jointtuner/forecast/segments.h"
#include "jointtuner/run/sizes.h"
#include "jointtuner/sample/settings.h"

namespace jointtuner::run {
namespace {

using forecast::Stage;
using inject::SegmentMemory;

bool chooses_segments(const config::RunConfig& config) { return config.train.activation_checkpointing == "auto"; }

/// What forecast needs of a config; previews as the run makes them.
forecast::Work forecast_work(const config::RunConfig& config, const backbone::Manifest& manifest) {
  sample::SampleOptions sample = with_sizes(config.sample, config.data);
  if (sample.prompts.empty()) sample.prompts = {"a prompt"};  // which one changes nothing: embeddings are padded
  forecast::Work work{.adapter = config.adapter,
                      .data = config.data,
                      .loss = config.loss,
                      .train = config.train,
                      .sample = sample::resolved(sample, manifest),
                      .previews = config.preview.every > 0};
  if (!chooses_segments(config))
    work.segment_memory = {inject::segment_memory_from_text(config.train.activation_checkpointing)};
  return work;
}

/// Bytes that a run may take: of run.memory, else of what the device has free; 0 when that is unknown.
int64_t free_memory(const config::RunConfig& config, c10::Device device) {
  if (config.run.memory.empty()) return free_memory_bytes(device);
  return forecast::usable(parse_bytes(config.run.memory, "run.memory"), device);
}

std::string needs(const Stage& stage, c10::Device device) { return bytes_text(forecast::required(stage, device)); }

std::string table(const std::vector<Stage>& stages, c10::Device device) {
  const auto row = [](const auto&... cells) {
    return fmt::format("{:<10}{:<15}{:>12}{:>12}{:>13}{:>12}{:>12}\n", cells...);
  };
  std::string text = row("memory", device.is_cuda() ? "on a card" : "on the CPU", "weights", "adapters", "activations",
                         "peak", "needs");
  for (const Stage& stage : stages)
    text += row("", stage.name, bytes_text(stage.weights), bytes_text(stage.adapters), bytes_text(stage.activations),
                bytes_text(stage.peak()), needs(stage, device));
  if (device.is_cuda())
    text +=
        fmt::format("          needs: the peak in blocks, {} for cuBLAS and {} for cuDNN; the context takes {} more\n",
                    bytes_text(forecast::kCublasWorkspace), bytes_text(forecast::kCudnnWorkspace),
                    bytes_text(forecast::kCudaContext));
  return text;
}

/// "12 of 42 recomputed, 30 kept"
std::string choice_text(const std::vector<SegmentMemory>& memory) {
  const auto count = [&](SegmentMemory one) { return std::count(memory.begin(), memory.end(), one); };
  if (const auto offloaded = count(SegmentMemory::offload); offloaded > 0)
    return fmt::format("{} of {} recomputed from offloaded inputs", offloaded, memory.size());
  return fmt::format("{} of {} recomputed, {} kept", count(SegmentMemory::recompute), memory.size(),
                     count(SegmentMemory::keep));
}

/// All settings of the changes with the last value of each: "data.frames=2 train.activation_checkpointing=offload".
std::string settings_of(const std::vector<forecast::Change>& changes) {
  std::map<std::string, std::string> last;
  for (const forecast::Change& change : changes) {
    std::istringstream words(change.settings);
    for (std::string word; words >> word;) last[word.substr(0, word.find('='))] = word;
  }
  std::string text;
  for (const auto& [name, setting] : last) text += (text.empty() ? "" : " ") + setting;
  return text;
}

/// "train needs 30.12 GiB, and 23.50 GiB are free: set a=b c=d, with which it needs 20.00 GiB"
std::string shortage(const Stage& stage, int64_t free, const std::vector<forecast::Change>& changes,
                     c10::Device device) {
  const std::string text =
      fmt::format("{} needs {}, and {} are free: ", stage.name, needs(stage, device), bytes_text(free));
  if (changes.empty()) return text + "no setting lowers that; take a larger card or a smaller backbone";
  return text + fmt::format("set {}, with which it needs {}{}", settings_of(changes),
                            needs(changes.back().stage, device),
                            changes.back().fits ? "" : "; for less take a smaller size");
}

std::string changes_text(const std::vector<forecast::Change>& changes, c10::Device device) {
  std::string text;
  for (const forecast::Change& change : changes)
    text += fmt::format("            with {}: {}{} ({})\n", change.settings, needs(change.stage, device),
                        change.fits ? ", fits" : "", change.cost);
  return text;
}

}  // namespace

std::string memory_report(const config::RunConfig& config, const backbone::Bundle& bundle, Problems& problems) {
  const c10::Device device = config.run.device == "cpu" ? at::kCPU : at::kCUDA;
  const bool stated = !config.run.memory.empty();
  forecast::Work work = forecast_work(config, bundle.manifest());
  std::string text;
  if (chooses_segments(config) && stated) {
    work.segment_memory = forecast::segments_to_fit(bundle, work, free_memory(config, device), device).memory;
    text = fmt::format("segments  {}\n", choice_text(work.segment_memory));
  } else if (chooses_segments(config)) {
    text = "segments  chosen when the run starts, by what is free; all recomputed in this forecast\n";
  }
  const std::vector<Stage> stages{forecast::encode_text(bundle, device), forecast::encode_latents(bundle, work, device),
                                  forecast::train(bundle, work, device), forecast::preview(bundle, work, device),
                                  forecast::decode(bundle, work, device)};
  text += table(stages, device);
  if (!stated) return text;
  const int64_t free = free_memory(config, device);
  bool all_fit = true;
  for (const Stage& stage : stages) {
    if (forecast::required(stage, device) <= free) continue;
    all_fit = false;
    const auto changes = forecast::changes_to_fit(bundle, work, stage.name, free, device);
    text += fmt::format("          {} does not fit into {}\n", stage.name, config.run.memory) +
            changes_text(changes, device);
    problems.add(shortage(stage, free, changes, device));
  }
  if (all_fit) text += fmt::format("          every stage fits into {}\n", config.run.memory);
  return text;
}

std::vector<SegmentMemory> segments_that_fit(const config::RunConfig& config, const backbone::Bundle& bundle,
                                             c10::Device device) {
  forecast::Work work = forecast_work(config, bundle.manifest());
  const int64_t free = free_memory(config, device);
  if (free == 0) return work.segment_memory;
  const bool binding = device.is_cuda() || !config.run.memory.empty();
  const auto look = [&](const Stage& stage, bool refuse) {
    if (forecast::required(stage, device) <= free) return;
    const std::string found =
        shortage(stage, free, forecast::changes_to_fit(bundle, work, stage.name, free, device), device);
    if (refuse) throw Error(found + ". `jointtuner check --memory` shows the whole forecast.");
    log_warning(found);
  };
  if (chooses_segments(config)) {
    const forecast::SegmentChoice choice = forecast::segments_to_fit(bundle, work, free, device);
    work.segment_memory = choice.memory;
    log_info(fmt::format("checkpoint segments: {}; training needs {} of {}", choice_text(choice.memory),
                         needs(choice.stage, device), bytes_text(free)));
    look(choice.stage, binding);
  } else {
    look(forecast::train(bundle, work, device), binding);
  }
  if (work.previews) {
    look(forecast::preview(bundle, work, device), binding);
    look(forecast::decode(bundle, work, device), false);
  }
  return work.segment_memory;
}

}  // namespace jointtuner::run
