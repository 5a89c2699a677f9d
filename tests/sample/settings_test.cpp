#include "jointtuner/sample/settings.h"

#include "jointtuner/backbone/bundle.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::sample {
namespace {

const backbone::Manifest& nano() {
  static const backbone::Bundle bundle = backbone::Bundle::open(testing::golden_bundle("nano_bundle"));
  return bundle.manifest();
}

SampleOptions asked(const std::string& prompt = "a cat") {
  SampleOptions options;
  options.prompts = {prompt};
  return options;
}

TEST(Settings, OpenValuesComeFromTheBundle) {
  const SampleOptions options = resolved(asked(" \ta cat\r\n"), nano());
  EXPECT_EQ(options.prompts, std::vector<std::string>{"a cat"});
  EXPECT_EQ(options.frames, 16);
  EXPECT_EQ(options.height, 16);
  EXPECT_EQ(options.width, 16);
  EXPECT_EQ(options.fps, 8);
  EXPECT_EQ(options.sampler, "ddim");
  EXPECT_EQ(options.steps, 30);
  EXPECT_EQ(options.guidance, 12);
  EXPECT_EQ(options.guidance_schedule, "constant");
}

TEST(Settings, GivenValuesStay) {
  SampleOptions options = asked();
  options.frames = 5, options.height = 10, options.width = 12, options.fps = 6, options.sampler = "dpmpp_2m";
  options.steps = 7, options.guidance = 3, options.guidance_schedule = "dynamic";
  const SampleOptions found = resolved(options, nano());
  EXPECT_EQ(found.frames, 5);
  EXPECT_EQ(found.height, 10);
  EXPECT_EQ(found.width, 12);
  EXPECT_EQ(found.fps, 6);
  EXPECT_EQ(found.sampler, "dpmpp_2m");
  EXPECT_EQ(found.steps, 7);
  EXPECT_EQ(found.guidance, 3);
  EXPECT_EQ(found.guidance_schedule, "dynamic");
}

TEST(Settings, PromptsAndSeedsAreNeeded) {
  SampleOptions options;
  EXPECT_ERROR(resolved(options, nano()), UsageError, "nothing to sample", "--prompt");
  options.prompts = {"a cat", "  "};
  EXPECT_ERROR(resolved(options, nano()), UsageError, "prompt 2 of 2 is empty");
  options.prompts = {"a cat"};
  options.seeds = {};
  EXPECT_ERROR(resolved(options, nano()), UsageError, "--seed");
}

TEST(Settings, SizesThatTheBackboneDoesNotTake) {
  SampleOptions options = asked();
  options.height = 13;
  EXPECT_ERROR(resolved(options, nano()), UsageError, "height: 13 px", "use 12 or 14");
  backbone::Manifest video_vae = nano();
  video_vae.latents.temporal_compression = 4;
  options.height = 12, options.frames = 12;
  EXPECT_ERROR(resolved(options, video_vae), UsageError, "frames", "use 9 or 13");
}

TEST(Settings, CombinationsThatMeanNothing) {
  SampleOptions options = asked();
  options.sampler = "dpmpp_2m", options.eta = 0.5;
  EXPECT_ERROR(resolved(options, nano()), UsageError,
               "sample.eta: expected 0 with the sampler dpmpp_2m, for only ddim takes it; found 0.5");
  backbone::Manifest stochastic = nano();
  stochastic.schedule.default_sampler = "dpmpp_2m_sde";
  options.sampler = "default";
  EXPECT_EQ(resolved(options, nano()).eta, 0.5);  // ddim
  EXPECT_ERROR(resolved(options, stochastic), UsageError, "sample.eta: expected 0 with the sampler dpmpp_2m_sde");
  options = asked();
  options.seeds = {3, 1, 3};
  EXPECT_ERROR(resolved(options, nano()), UsageError, "sample.seeds: 3 occurs twice");
  options = asked();
  options.noise_prior_strength = 0.5;
  EXPECT_ERROR(resolved(options, nano()), UsageError, "sample.noise_prior_video: expected a video");
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
