#include "jointtuner/config/validate.h"

#include <gtest/gtest.h>

#include <functional>

#include "jointtuner/base/error.h"

namespace jointtuner::config {
namespace {

template <class Check>
std::string message_of(const RunConfig& config, Check&& check) {
  try {
    check(config, "run.json");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

/// Message of validate() for the default config after `change`.
std::string after(const std::function<void(RunConfig&)>& change) {
  RunConfig config;
  change(config);
  return message_of(config, validate);
}

TEST(Validate, TakesTheDefaults) { EXPECT_EQ(message_of(RunConfig{}, validate), "accepted"); }

TEST(Validate, Run) {
  EXPECT_EQ(after([](RunConfig& c) { c.run.name = "a/b"; }),
            "run.json: run.name: expected the name of one folder, found \"a/b\"; where it lies is run.output");
  for (const char* name : {"..", "."})
    EXPECT_NE(after([&](RunConfig& c) { c.run.name = std::string(name); }), "accepted") << name;
  EXPECT_EQ(after([](RunConfig& c) { c.run.output.clear(); }),
            "run.json: run.output: expected a folder, found \"\"; the current one is \".\"");
  EXPECT_EQ(after([](RunConfig& c) { c.run.device = "gpu"; }),
            "run.json: run.device: expected auto, cpu, cuda or cuda:N, found \"gpu\"");
  for (const char* device : {"cuda:", "cuda:x", "cuda:0x", "cuda:1234", "CPU", ""})
    EXPECT_NE(after([&](RunConfig& c) { c.run.device = device; }), "accepted") << device;
  for (const char* device : {"auto", "cpu", "cuda", "cuda:0", "cuda:15"})
    EXPECT_EQ(after([&](RunConfig& c) { c.run.device = device; }), "accepted") << device;
}

TEST(Validate, Sources) {
  EXPECT_EQ(after([](RunConfig& c) { c.data.images.resize(1); }),
            "run.json: data.images.0.path: expected a file or folder, found \"\"");
  EXPECT_EQ(after([](RunConfig& c) { c.data.videos = {{"a.mp4", "", 2.0}, {"", "", 0}}; }),
            "run.json: data.videos.1.path: expected a file or folder, found \"\"");
  EXPECT_EQ(after([](RunConfig& c) { c.data.images = {{"a.png", "", 1.5}}; }),
            "run.json: data.images.0.start_s: expected 0, found 1.5: a picture has no time");
}

TEST(Validate, Loss) {
  EXPECT_EQ(after([](RunConfig& c) { c.loss.video_weight = c.loss.image_weight = 0; }),
            "run.json: loss: expected video_weight or image_weight above 0, found both 0: nothing would be learnt");
  EXPECT_EQ(after([](RunConfig& c) { c.loss.video_weight = 0; }), "accepted");
}

TEST(Validate, Train) {
  EXPECT_EQ(after([](RunConfig& c) { c.train.warmup_steps = 2001; }),
            "run.json: train.warmup_steps: expected at most train.steps = 2000, found 2001");
  EXPECT_EQ(after([](RunConfig& c) { c.train.warmup_steps = 2000; }), "accepted");
  EXPECT_EQ(after([](RunConfig& c) { c.train.beta1 = 1; }),
            "run.json: train.beta1: expected a number below 1, found 1");
  EXPECT_EQ(after([](RunConfig& c) { c.train.beta2 = 1; }),
            "run.json: train.beta2: expected a number below 1, found 1");
  EXPECT_EQ(after([](RunConfig& c) { c.train.epsilon = 0; }),
            "run.json: train.epsilon: expected a number above 0, found 0");
}

TEST(Validate, Sample) {
  EXPECT_EQ(after([](RunConfig& c) { c.sample.seeds = {3, 4, 3}; }),
            "run.json: sample.seeds: 3 occurs twice; the same seed gives the same video");
  for (const std::string sampler : {"dpmpp_2m", "dpmpp_2m_sde"})
    EXPECT_EQ(after([&](RunConfig& c) { c.sample.eta = 0.5, c.sample.sampler = sampler; }),
              "run.json: sample.eta: expected 0 with the sampler " + sampler + ", for only ddim takes it; found 0.5");
  for (const char* sampler : {"ddim", "default"})
    EXPECT_EQ(after([&](RunConfig& c) { c.sample.eta = 0.5, c.sample.sampler = sampler; }), "accepted") << sampler;
  EXPECT_EQ(
      after([](RunConfig& c) { c.sample.noise_prior_strength = 0.5; }),
      "run.json: sample.noise_prior_video: expected a video, since sample.noise_prior_strength = 0.5, found \"\"");
  EXPECT_EQ(after([](RunConfig& c) { c.sample.noise_prior_video = "a.mp4"; }),
            "run.json: sample.noise_prior_strength: expected a number above 0, since sample.noise_prior_video = "
            "\"a.mp4\", found 0");
}

TEST(Validate, Previews) {
  EXPECT_EQ(after([](RunConfig& c) { c.preview.every = 10; }),
            "run.json: sample.prompts: expected at least one prompt, since preview.every = 10, found none");
  EXPECT_EQ(after([](RunConfig& c) {
              c.preview.every = 10;
              c.sample.prompts = {"a"};
              c.sample.seeds = {};
            }),
            "run.json: sample.seeds: expected at least one seed, since preview.every = 10, found none");
}

TEST(ValidateForTraining, AsksForABundleAndData) {
  RunConfig config;
  EXPECT_EQ(message_of(config, validate_for_training),
            "run.json: backbone.bundle: expected the folder of an exported backbone, found \"\"; make one with "
            "scripts/export_backbone.sh");
  config.backbone.bundle = "bundles/zeroscope";
  EXPECT_EQ(message_of(config, validate_for_training),
            "run.json: data: expected at least one source in data.images or data.videos, found none");
  config.data.videos = {{"a.mp4", "", 0}};
  EXPECT_EQ(message_of(config, validate_for_training), "accepted");
}

}  // namespace
}  // namespace jointtuner::config
