#include "jointtuner/config/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "jointtuner/base/bytes.h"
#include "jointtuner/base/error.h"

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

bool is_device(const std::string& text) {
  if (text == "auto" || text == "cpu" || text == "cuda") return true;
  const std::string prefix = "cuda:";
  return text.starts_with(prefix) && text.size() > prefix.size() && text.size() <= prefix.size() + 3 &&
         std::all_of(text.begin() + prefix.size(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

void validate_run(const RunOptions& run, const Rules& rules) {
  const bool folder = run.name != "." && run.name != ".." && run.name.find('/') == std::string::npos;
  rules.require(folder, "run.name",
                fmt::format("expected the name of one folder, found \"{}\"; where it lies is run.output", run.name));
  rules.require(!run.output.empty(), "run.output", "expected a folder, found \"\"; the current one is \".\"");
  rules.require(is_device(run.device), "run.device",
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

void validate_train(const train::TrainOptions& train, const Rules& rules) {
  rules.require(train.warmup_steps <= train.steps, "train.warmup_steps",
                fmt::format("expected at most train.steps = {}, found {}", train.steps, train.warmup_steps));
  rules.require(train.beta1 < 1, "train.beta1", fmt::format("expected a number below 1, found {}", train.beta1));
  rules.require(train.beta2 < 1, "train.beta2", fmt::format("expected a number below 1, found {}", train.beta2));
  rules.require(train.epsilon > 0, "train.epsilon", fmt::format("expected a number above 0, found {}", train.epsilon));
}

void validate_sample(const sample::SampleOptions& sample, const Rules& rules) {
  std::set<int64_t> seen;
  for (const int64_t seed : sample.seeds)
    rules.require(seen.insert(seed).second, "sample.seeds",
                  fmt::format("{} occurs twice; the same seed gives the same video", seed));
  rules.require(sample.eta == 0 || sample.sampler != "dpmpp_2m", "sample.eta",
                fmt::format("expected 0 with the sampler dpmpp_2m, which draws no noise, found {}", sample.eta));
  const bool prior = sample.noise_prior_strength > 0;
  rules.require(
      !prior || !sample.noise_prior_video.empty(), "sample.noise_prior_video",
      fmt::format("expected a video, since sample.noise_prior_strength = {}, found \"\"", sample.noise_prior_strength));
  rules.require(prior || sample.noise_prior_video.empty(), "sample.noise_prior_strength",
                fmt::format("expected a number above 0, since sample.noise_prior_video = \"{}\", found 0",
                            sample.noise_prior_video));
}

}  // namespace

void validate(const RunConfig& config, std::string_view origin) {
  const Rules rules(origin);
  validate_run(config.run, rules);
  validate_data(config.data, rules);
  rules.require(config.loss.video_weight > 0 || config.loss.image_weight > 0, "loss",
                "expected video_weight or image_weight above 0, found both 0: nothing would be learnt");
  validate_train(config.train, rules);
  validate_sample(config.sample, rules);
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
