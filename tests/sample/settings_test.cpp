#include "jointtuner/sample/settings.h"

#include "jointtuner/backbone/bundle.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::sample {
namespace {

const backbone::Manifest& nano() {
  static const backbone::Bundle bundle = backbone::Bundle::open(testing::golden("nano_bundle"));
  return bundle.manifest();
}

SampleOptions asked(const std::string& prompt = "a cat") {
  SampleOptions options;
  options.prompts = {prompt};
  return options;
}

TEST(Settings, open_values_come_from_the_bundle) {
  const SampleOptions options = resolved(asked(" \ta cat\r\n"), nano());
  EXPECT_EQ(options.prompts, std::vector<std::string>{"a cat"});
  EXPECT_EQ(options.frames, 16);
  EXPECT_EQ(options.height, 16);
  EXPECT_EQ(options.width, 16);
  EXPECT_EQ(options.fps, 8);
  EXPECT_EQ(options.sampler, "ddim");
}

TEST(Settings, given_values_stay) {
  SampleOptions options = asked();
  options.frames = 5, options.height = 10, options.width = 12, options.fps = 6, options.sampler = "dpmpp_2m";
  const SampleOptions found = resolved(options, nano());
  EXPECT_EQ(found.frames, 5);
  EXPECT_EQ(found.height, 10);
  EXPECT_EQ(found.width, 12);
  EXPECT_EQ(found.fps, 6);
  EXPECT_EQ(found.sampler, "dpmpp_2m");
}

TEST(Settings, shape_of_the_latents) {
  SampleOptions options = asked();
  options.frames = 5, options.height = 10, options.width = 12;
  EXPECT_EQ(latents_shape(options, nano()), (std::vector<int64_t>{1, 4, 5, 5, 6}));  // the VAE halves the sides
  backbone::Manifest video_vae = nano();
  video_vae.latents.temporal_compression = 4;
  options.frames = 9;
  EXPECT_EQ(latents_shape(options, video_vae), (std::vector<int64_t>{1, 4, 3, 5, 6}));
}

TEST(Settings, prompts_and_seeds_are_needed) {
  SampleOptions options;
  EXPECT_ERROR(resolved(options, nano()), UsageError, "nothing to sample", "--prompt");
  options.prompts = {"a cat", "  "};
  EXPECT_ERROR(resolved(options, nano()), UsageError, "prompt 2 of 2 is empty");
  options.prompts = {"a cat"};
  options.seeds = {};
  EXPECT_ERROR(resolved(options, nano()), UsageError, "--seed");
}

TEST(Settings, sizes_that_the_backbone_does_not_take) {
  SampleOptions options = asked();
  options.height = 13;
  EXPECT_ERROR(resolved(options, nano()), UsageError, "height 13 px", "multiples of 2", "use 12 or 14");
  options.height = 16;
  options.width = 1;
  EXPECT_ERROR(resolved(options, nano()), UsageError, "width 1 px", "use 2");
  backbone::Manifest coarse = nano();
  coarse.denoiser.height_multiple = 4;
  options.width = 16, options.height = 12;
  EXPECT_ERROR(resolved(options, coarse), UsageError, "height 12 px", "multiples of 8", "use 8 or 16");
}

TEST(Settings, frames_that_the_backbone_does_not_take) {
  backbone::Manifest video_vae = nano();
  video_vae.latents.temporal_compression = 4;  // 1, 5, 9, 13, ... frames are 1, 2, 3, 4, ... latent frames
  video_vae.denoiser.frames_minimum = 3;
  video_vae.denoiser.frames_multiple = 2;
  video_vae.denoiser.frames_remainder = 1;  // 3, 5, ...
  SampleOptions options = asked();
  for (const int64_t good : {9, 17}) {
    options.frames = good;
    EXPECT_EQ(resolved(options, video_vae).frames, good);
  }
  options.frames = 12;
  EXPECT_ERROR(resolved(options, video_vae), UsageError, "frames 12", "9 or 17");
  options.frames = 4;
  EXPECT_ERROR(resolved(options, video_vae), UsageError, "nearest it takes: 9");
}

TEST(Settings, combinations_that_mean_nothing) {
  SampleOptions options = asked();
  options.sampler = "dpmpp_2m", options.eta = 0.5;
  EXPECT_ERROR(resolved(options, nano()), UsageError, "eta 0.5", "only the sampler ddim", "dpmpp_2m");
  options = asked();
  options.noise_prior_strength = 0.5;
  EXPECT_ERROR(resolved(options, nano()), UsageError, "noise_prior_strength 0.5", "noise_prior_video");
  backbone::Manifest short_schedule = nano();
  short_schedule.schedule.train_timesteps = 10;
  EXPECT_ERROR(resolved(asked(), short_schedule), UsageError, "steps 30", "10 timesteps");
  backbone::Manifest joint = nano();  // one kind of sites only
  joint.denoiser.adapter_rules.resize(1);
  options = asked();
  options.temporal_scale = 0.5;
  EXPECT_EQ(resolved(options, nano()).temporal_scale, 0.5);
  EXPECT_ERROR(resolved(options, joint), UsageError, "temporal_scale 0.5", "no temporal sites", "adapter_scale");
}

}  // namespace
}  // namespace jointtuner::sample
