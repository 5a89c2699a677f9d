#include "jointtuner/config/validate.h"

#include <fmt/format.h>

#include <string>

#include "jointtuner/base/bytes.h"
#include "jointtuner/base/device.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/rules.h"

namespace jointtuner::config {
namespace {

class Rules {
 public:
  explicit Rules(std::string_view origin) : origin_(origin) {}

  std::string at(const std::string& path) const { return fmt::format("{}: {}", origin_, path); }

  /// Throws unless `holds`.
  void require(bool holds, const std::string& path, const std::string& message) const {
    if (!holds) throw UsageError(fmt::format("{}: {}: {}", origin_, path, message));
  }

 private:
  std::string origin_;
};

void validate_run(const RunOptions& run, const Rules& rules) {
  const bool folder = run.name != "." && run.name != ".." && run.name.find('/') == std::string::npos;
  rules.require(folder, "run.name",
                fmt::format("expected the name of one folder, found \"{}\"; where it lies is run.output", run.name));
  rules.require(!run.output.empty(), "run.output", "expected a folder, found \"\"; the current one is \".\"");
  rules.require(is_device_name(run.device), "run.device",
                fmt::format("expected auto, cpu, cuda or cuda:N, found \"{}\"", run.device));
  if (!run.memory.empty()) parse_bytes(run.memory, rules.at("run.memory"));
}

void validate_data(const data::DataOptions& data, const Rules& rules) {
  for (size_t i = 0; i < data.images.size(); ++i) {
    rules.require(!data.images[i].path.empty(), fmt::format("data.images.{}.path", i),
                  "expected a file or folder, found \"\"");
    rules.require(data.images[i].start_s == 0, fmt::format("data.images.{}.start_s", i),
                  fmt::format("expected 0, found {}: a picture has no time", data.images[i].start_s));
  }
  for (size_t i = 0; i < data.videos.size(); ++i)
    rules.require(!data.videos[i].path.empty(), fmt::format("data.videos.{}.path", i),
                  "expected a file or folder, found \"\"");
}

}  // namespace

void validate(const RunConfig& config, std::string_view origin) {
  const Rules rules(origin);
  validate_run(config.run, rules);
  validate_data(config.data, rules);
  rules.require(config.loss.video_weight > 0 || config.loss.image_weight > 0, "loss",
                "expected video_weight or image_weight above 0, found both 0: nothing would be learnt");
  check_rules(config.train, rules.at("train."));
  check_rules(config.sample, rules.at("sample."));
  const bool previews = config.preview.every > 0;
  rules.require(
      !previews || !config.sample.prompts.empty(), "sample.prompts",
      fmt::format("expected at least one prompt, since preview.every = {}, found none", config.preview.every));
  rules.require(!previews || !config.sample.seeds.empty(), "sample.seeds",
                fmt::format("expected at least one seed, since preview.every = {}, found none", config.preview.every));
}

void validate_for_training(const RunConfig& config, std::string_view origin) {
  const Rules rules(origin);
  rules.require(!config.backbone.bundle.empty(), "backbone.bundle",
                "expected the folder of an exported backbone, found \"\"; make one with scripts/export_backbone.sh");
  rules.require(!config.data.images.empty() || !config.data.videos.empty(), "data",
                "expected at least one source in data.images or data.videos, found none");
}

}  // namespace jointtuner::config
