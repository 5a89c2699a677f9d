#include "memory_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "jointtuner/base/bytes.h"
#include "jointtuner/base/device.h"
#include "jointtuner/base/log.h"
#include "jointtuner/forecast/fit.h"
#include "jointtuner/forecast/segments.h"
#include "jointtuner/sample/settings.h"
#include "prompts.h"

namespace jointtuner::cli {
namespace {

using forecast::Stage;
using inject::SegmentMemory;

constexpr const char* kAuto = "auto";  // of train.activation_checkpointing

std::string row(const Stage& stage, bool on_card) {
  return fmt::format("          {:<15}{:>12}{:>12}{:>13}{:>12}{}\n", stage.name, bytes_text(stage.weights),
                     bytes_text(stage.adapters), bytes_text(stage.activations), bytes_text(stage.peak()),
                     on_card ? fmt::format("{:>12}", bytes_text(stage.rounding)) : "");
}

std::string table(const std::vector<Stage>& stages, bool on_card) {
  std::string text = fmt::format("memory    {:<15}{:>12}{:>12}{:>13}{:>12}{}\n", on_card ? "on a card" : "on the CPU",
                                 "weights", "adapters", "activations", "peak", on_card ? "    rounding" : "");
  for (const Stage& stage : stages) text += row(stage, on_card);
  if (on_card) {
    text += fmt::format("          a card also holds, about: context {}, cuBLAS {}, cuDNN {}\n",
                        bytes_text(forecast::kCudaContext), bytes_text(forecast::kCublasWorkspace),
                        bytes_text(forecast::kCudnnWorkspace));
  }
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

std::vector<Stage> all_stages(const backbone::Bundle& bundle, const forecast::Work& work, c10::Device described) {
  return {forecast::encode_text(bundle, described), forecast::encode_latents(bundle, work, described),
          forecast::train(bundle, work, described), forecast::preview(bundle, work, described),
          forecast::decode(bundle, work, described)};
}

/// "train.activation_checkpointing=true (then 12.3 GiB; about a third more time a step)"
std::string change_text(const forecast::Change& change, c10::Device described) {
  return fmt::format("{} (then {}{}; {})", change.settings, bytes_text(forecast::required(change.stage, described)),
                     change.fits ? ", fits" : "", change.cost);
}

std::string shortage(const Stage& stage, int64_t free, c10::Device described) {
  return fmt::format("{} needs {}, and {} are there", stage.name, bytes_text(forecast::required(stage, described)),
                     bytes_text(free));
}

/// All changes up to the first with which the stage fits, in words.
std::string advice(const std::vector<forecast::Change>& changes, c10::Device described) {
  if (changes.empty()) return "nothing of the run can be changed to lower it; take a larger card or a smaller backbone";
  std::string text;
  for (const forecast::Change& change : changes)
    text += (text.empty() ? "" : ", then ") + change_text(change, described);
  return "set " + text + (changes.back().fits ? "" : "; that is not enough: take a smaller size or a larger card");
}

}  // namespace

forecast::Work forecast_work(const config::RunConfig& config, const backbone::Manifest& manifest) {
  sample::SampleOptions sample = with_sizes(config.sample, config.data);
  if (sample.prompts.empty()) sample.prompts = {"a prompt"};  // its length changes nothing: embeddings are padded
  if (sample.seeds.empty()) sample.seeds = {0};
  forecast::Work work{.adapter = config.adapter,
                      .data = config.data,
                      .loss = config.loss,
                      .train = config.train,
                      .sample = sample::resolved(sample, manifest),
                      .previews = config.preview.every > 0};
  if (config.train.activation_checkpointing != kAuto)
    work.segment_memory = {inject::segment_memory_from_text(config.train.activation_checkpointing)};
  return work;
}

c10::Device described_device(const config::RunConfig& config) {
  return config.run.device == "cpu" ? at::kCPU : at::kCUDA;
}

std::string memory_report(const config::RunConfig& config, const backbone::Bundle& bundle, Problems& problems) {
  const c10::Device described = described_device(config);
  const bool on_card = described.is_cuda(), stated = !config.run.memory.empty();
  const int64_t free = stated ? forecast::usable(parse_bytes(config.run.memory, "run.memory"), described) : 0;
  forecast::Work work = forecast_work(config, bundle.manifest());
  std::string text;
  if (config.train.activation_checkpointing == kAuto && stated) {
    const forecast::SegmentChoice choice = forecast::segments_to_fit(bundle, work, free, described);
    work.segment_memory = choice.memory;
    text = fmt::format("segments  {}\n", choice_text(choice.memory));
  }
  const std::vector<Stage> stages = all_stages(bundle, work, described);
  text += table(stages, on_card);
  if (!stated) return text;
  bool all_fit = true;
  for (const Stage& stage : stages) {
    if (forecast::required(stage, described) <= free) continue;
    all_fit = false;
    const auto changes = forecast::changes_to_fit(bundle, work, stage.name, free, described);
    text += fmt::format("          {}:\n", shortage(stage, free, described));
    for (const forecast::Change& change : changes)
      text += fmt::format("            {}\n", change_text(change, described));
    problems.add(fmt::format("{}: {}", shortage(stage, free, described), advice(changes, described)));
  }
  if (all_fit) text += fmt::format("          all stages fit into {}\n", config.run.memory);
  return text;
}

std::vector<inject::SegmentMemory> segments_that_fit(const config::RunConfig& config, const backbone::Bundle& bundle,
                                                     c10::Device device) {
  forecast::Work work = forecast_work(config, bundle.manifest());
  const bool stated = !config.run.memory.empty(), enforced = stated || !device.is_cpu();
  const int64_t free =
      stated ? forecast::usable(parse_bytes(config.run.memory, "run.memory"), device) : free_memory_bytes(device);
  if (free == 0) return work.segment_memory;  // the system does not say
  const auto look = [&](const Stage& stage, bool refuse) {
    if (forecast::required(stage, device) <= free) return;
    const std::string found =
        fmt::format("{} on {}: {}", shortage(stage, free, device), device.str(),
                    advice(forecast::changes_to_fit(bundle, work, stage.name, free, device), device));
    if (refuse) throw Error(found + ". `jointtuner check` shows the whole forecast");
    log_warning(found);
  };
  if (config.train.activation_checkpointing == kAuto) {
    const forecast::SegmentChoice choice = forecast::segments_to_fit(bundle, work, free, device);
    work.segment_memory = choice.memory;
    log_info(fmt::format("checkpoint segments: {}; {} of {} forecast", choice_text(choice.memory),
                         bytes_text(forecast::required(choice.stage, device)), bytes_text(free)));
    look(choice.stage, enforced);
  } else {
    look(forecast::train(bundle, work, device), enforced);
  }
  if (work.previews) {
    look(forecast::preview(bundle, work, device), enforced);
    look(forecast::decode(bundle, work, device), false);  // it goes on in tiles by itself
  }
  return work.segment_memory;
}

}  // namespace jointtuner::cli
