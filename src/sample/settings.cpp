#include "jointtuner/sample/settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "jointtuner/base/error.h"
#include "jointtuner/base/rules.h"

namespace jointtuner::sample {
namespace {

using backbone::Manifest;

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

void check_group_scale(std::string_view group, double scale, const Manifest& manifest) {
  const auto& rules = manifest.denoiser.adapter_rules;
  if (scale == 1 || std::any_of(rules.begin(), rules.end(), [&](const auto& rule) { return rule.group == group; }))
    return;
  throw UsageError(
      fmt::format("{0}_scale {1}: the backbone {2} has no {0} sites of its own; leave it at 1 and use adapter_scale",
                  group, scale, manifest.source_name));
}

}  // namespace

SampleOptions resolved(SampleOptions options, const Manifest& manifest) {
  if (options.prompts.empty())
    throw UsageError("nothing to sample: give a prompt (--prompt \"...\", or sample.prompts in the config)");
  for (size_t i = 0; i < options.prompts.size(); ++i) {
    options.prompts[i] = trimmed(options.prompts[i]);
    if (options.prompts[i].empty())
      throw UsageError(fmt::format("prompt {} of {} is empty", i + 1, options.prompts.size()));
  }
  options.negative_prompt = trimmed(options.negative_prompt);
  if (options.seeds.empty()) throw UsageError("nothing to sample: give a seed (--seed, or sample.seeds in the config)");
  const auto& preferred = manifest.preferred;
  if (options.frames == 0) options.frames = preferred.frames;
  if (options.height == 0) options.height = preferred.height;
  if (options.width == 0) options.width = preferred.width;
  if (options.fps == 0) options.fps = preferred.fps;
  if (options.sampler == "default") options.sampler = manifest.schedule.default_sampler;
  if (options.steps == 0) options.steps = preferred.steps;
  if (options.guidance == 0) options.guidance = preferred.guidance;
  if (options.guidance_schedule == "default") options.guidance_schedule = preferred.guidance_schedule;
  backbone::check_video_size(manifest, video_size(options));
  if (options.steps > manifest.schedule.train_timesteps)
    throw UsageError(fmt::format("steps {}: the backbone was trained with {} timesteps; use at most so many",
                                 options.steps, manifest.schedule.train_timesteps));
  check_rules(options, "sample.");
  check_group_scale("spatial", options.spatial_scale, manifest);
  check_group_scale("temporal", options.temporal_scale, manifest);
  return options;
}

backbone::VideoSize video_size(const SampleOptions& options) { return {options.frames, options.height, options.width}; }

}  // namespace jointtuner::sample
