// How videos are sampled, by `sample` and by the previews of a run alike: the `sample` section of a run config.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "jointtuner/base/field.h"

namespace jointtuner::sample {

struct SampleOptions {
  std::vector<std::string> prompts;
  std::string negative_prompt;
  std::vector<int64_t> seeds = {0};
  int64_t steps = 0;
  double guidance = 0.0;
  std::string guidance_schedule = "default";
  std::string sampler = "default";
  double eta = 0.0;
  int64_t frames = 0;
  int64_t height = 0;
  int64_t width = 0;
  double fps = 0.0;
  double adapter_scale = 1.0;
  double spatial_scale = 1.0;
  double temporal_scale = 1.0;
  std::string gate_pooling;
  std::string noise_prior_video;
  double noise_prior_strength = 0.0;
  int64_t decode_slice = 4;
  int64_t decode_tile = 0;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("prompts", o.prompts, "texts to sample; every prompt is sampled with every seed");
    field("negative_prompt", o.negative_prompt, "text that guidance steers away from");
    field("seeds", o.seeds, "seeds of the initial noise", Range{0, 9007199254740992.0});
    field("steps", o.steps, "denoising steps; 0 = what the bundle prefers", Range{0, 1000});
    field("guidance", o.guidance, "classifier-free guidance scale; 1 = no guidance, 0 = what the bundle prefers",
          Range{0, 100});
    field("guidance_schedule", o.guidance_schedule,
          "default = what the bundle prefers; constant; dynamic = varies by step as CogVideoX's published samples do",
          Choices{"default", "constant", "dynamic"});
    field("sampler", o.sampler,
          "default = the bundle's; ddim; dpmpp_2m = DPM-Solver++ (2M); dpmpp_2m_sde = its stochastic form (2M SDE)",
          Choices{"default", "ddim", "dpmpp_2m", "dpmpp_2m_sde"});
    field("eta", o.eta, "share of fresh noise in each ddim step; 0 = deterministic", Range{0, 1});
    field("frames", o.frames, "frames of a video; 0 = the run's data.frames, else what the bundle prefers",
          Range{0, 4096});
    field("height", o.height, "height in pixels; 0 = the run's data.height, else what the bundle prefers",
          Range{0, 8192});
    field("width", o.width, "width in pixels; 0 = the run's data.width, else what the bundle prefers", Range{0, 8192});
    field("fps", o.fps, "frames per second of the written video; 0 = the run's data.fps, else what the bundle prefers",
          Range{0, 1000});
    field("adapter_scale", o.adapter_scale, "factor on every adapter's update; 0 = the frozen model", Range{-100, 100});
    field("spatial_scale", o.spatial_scale, "further factor on the spatial sites (appearance)", Range{-100, 100});
    field("temporal_scale", o.temporal_scale, "further factor on the temporal sites (motion)", Range{-100, 100});
    field("gate_pooling", o.gate_pooling, "tokens that share one gate; \"\" = as the adapter was trained",
          Choices{"", "sample", "batch"});
    field("noise_prior_video", o.noise_prior_video,
          "video whose inverted latents are mixed into the initial noise; \"\" = none");
    field("noise_prior_strength", o.noise_prior_strength,
          "a of sqrt(a) * inverted latents + sqrt(1-a) * noise; 0 = noise only", Range{0, 1});
    field("decode_slice", o.decode_slice, "frames decoded at a time; fewer need less memory", Range{1, 4096});
    field("decode_tile", o.decode_tile, "side in pixels of the tiles in which a frame is decoded; 0 = whole frames",
          Range{0, 8192});
  }

  template <class Rule>
  static void rules(const SampleOptions& o, Rule&& rule) {
    std::vector<int64_t> sorted = o.seeds;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    rule(twice == sorted.end(), "seeds", "{} occurs twice; the same seed gives the same video",
         twice == sorted.end() ? 0 : *twice);
    rule(o.eta == 0 || o.sampler == "ddim" || o.sampler == "default", "eta",
         "expected 0 with the sampler {}, for only ddim takes it; found {}", o.sampler, o.eta);
    const bool prior = o.noise_prior_strength > 0;
    rule(!prior || !o.noise_prior_video.empty(), "noise_prior_video",
         "expected a video, since sample.noise_prior_strength = {}, found \"\"", o.noise_prior_strength);
    rule(prior || o.noise_prior_video.empty(), "noise_prior_strength",
         "expected a number above 0, since sample.noise_prior_video = \"{}\", found 0", o.noise_prior_video);
  }
};

}  // namespace jointtuner::sample
