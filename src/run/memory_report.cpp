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

Json stage_json(const Stage& stage, c10::Device device) {
  return {{"name", stage.name},         {"weights", stage.weights},
          {"adapters", stage.adapters}, {"activations", stage.activations},
          {"peak", stage.peak()},       {"needs", forecast::required(stage, device)}};
}

Json changes_json(const std::vector<forecast::Change>& changes, c10::Device device) {
  Json rows = Json::array();
  for (const forecast::Change& change : changes)
    rows.push_back({{"settings", change.settings},
                    {"needs", forecast::required(change.stage, device)},
                    {"fits", change.fits},
                    {"cost", change.cost}});
  return rows;
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
  if (changes.empty()) return text + "no setting lowers that; take a larger GPU or a smaller backbone";
  return text + fmt::format("set {}, with which it needs {}{}", settings_of(changes),
                            needs(changes.back().stage, device),
                            changes.back().fits ? "" : "; for less take a smaller size");
}

std::string bytes_at(const Json& object, const char* key) { return bytes_text(object.at(key).get<int64_t>()); }
std::string text_at(const Json& object, const char* key) { return object.at(key).get<std::string>(); }

}  // namespace

Json memory_report(const config::RunConfig& config, const backbone::Bundle& bundle, Problems& problems) {
  const c10::Device device = config.run.device == "cpu" ? at::kCPU : at::kCUDA;
  const bool stated = !config.run.memory.empty();
  forecast::Work work = forecast_work(config, bundle.manifest());
  Json report{{"on", device.is_cuda() ? "GPU" : "CPU"}, {"limit", stated ? Json(config.run.memory) : Json()}};
  if (chooses_segments(config) && stated) {
    work.segment_memory = forecast::segments_to_fit(bundle, work, free_memory(config, device), device).memory;
    report["segments"] = choice_text(work.segment_memory);
  } else if (chooses_segments(config)) {
    report["segments"] = "chosen when the run starts, by what is free; all recomputed in this forecast";
  }
  const std::vector<Stage> stages{forecast::encode_text(bundle, device), forecast::encode_latents(bundle, work, device),
                                  forecast::train(bundle, work, device), forecast::preview(bundle, work, device),
                                  forecast::decode(bundle, work, device)};
  const int64_t free = stated ? free_memory(config, device) : 0;
  report["stages"] = Json::array();
  for (const Stage& stage : stages) {
    Json& row = report["stages"].emplace_back(stage_json(stage, device));
    if (!stated) continue;
    row["fits"] = forecast::required(stage, device) <= free;
    row["changes"] = Json::array();
    if (row["fits"].get<bool>()) continue;
    const auto changes = forecast::changes_to_fit(bundle, work, stage.name, free, device);
    row["changes"] = changes_json(changes, device);
    problems.add(shortage(stage, free, changes, device));
  }
  if (device.is_cuda())
    report["allowances"] = {{"cublas", forecast::kCublasWorkspace},
                            {"cudnn", forecast::kCudnnWorkspace},
                            {"context", forecast::kCudaContext}};
  return report;
}

std::string memory_text(const Json& report) {
  const auto row = [](const auto&... cells) {
    return fmt::format("{:<10}{:<15}{:>12}{:>12}{:>13}{:>12}{:>12}\n", cells...);
  };
  std::string text;
  if (report.contains("segments")) text += fmt::format("segments  {}\n", text_at(report, "segments"));
  text += row("memory", text_at(report, "on") == "GPU" ? "on a GPU" : "on the CPU", "weights", "adapters",
              "activations", "peak", "needs");
  for (const Json& stage : report.at("stages"))
    text += row("", text_at(stage, "name"), bytes_at(stage, "weights"), bytes_at(stage, "adapters"),
                bytes_at(stage, "activations"), bytes_at(stage, "peak"), bytes_at(stage, "needs"));
  if (report.contains("allowances")) {
    const Json& allowed = report.at("allowances");
    text +=
        fmt::format("          needs: the peak in blocks, {} for cuBLAS and {} for cuDNN; the context takes {} more\n",
                    bytes_at(allowed, "cublas"), bytes_at(allowed, "cudnn"), bytes_at(allowed, "context"));
  }
  if (report.at("limit").is_null()) return text;
  const std::string limit = text_at(report, "limit");
  bool all_fit = true;
  for (const Json& stage : report.at("stages")) {
    if (stage.at("fits").get<bool>()) continue;
    all_fit = false;
    text += fmt::format("          {} does not fit into {}\n", text_at(stage, "name"), limit);
    for (const Json& change : stage.at("changes"))
      text += fmt::format("            with {}: {}{} ({})\n", text_at(change, "settings"), bytes_at(change, "needs"),
                          change.at("fits").get<bool>() ? ", fits" : "", text_at(change, "cost"));
  }
  if (all_fit) text += fmt::format("          every stage fits into {}\n", limit);
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
