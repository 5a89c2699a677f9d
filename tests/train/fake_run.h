// A run without a backbone: one adapted linear over the channels of every latent, two images and two videos whose
// posteriors follow from a formula. tests/goldens/make/train.py is the same in Python.
#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "jointtuner/kernels/glora_linear.h"
#include "jointtuner/train/trainer.h"

namespace jointtuner::train {

inline constexpr int64_t kChannels = 4, kFrames = 6, kHeight = 3, kWidth = 5, kRank = 2, kTokens = 3;
inline constexpr double kScalingFactor = 0.18215;
inline constexpr uint64_t kSeed = 17;

/// Element i is ((37 i + 101 offset) mod 211) / 211 - 0.5.
inline Tensor formula(at::IntArrayRef shape, int64_t offset) {
  const Tensor index = at::arange(c10::multiply_integers(shape), at::kLong);
  return ((index * 37 + offset * 101).remainder(211).to(at::kDouble) / 211 - 0.5).to(at::kFloat).reshape(shape);
}

inline std::vector<data::Item> fake_items() {
  std::vector<data::Item> items(4);
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].kind = i < 2 ? data::Kind::image : data::Kind::video;
    items[i].path = i < 2 ? "images/" + std::to_string(i) + ".png" : "videos/" + std::to_string(i) + ".mp4";
    items[i].caption = "caption " + std::to_string(i);
    items[i].clip_starts_s = {0.0};
  }
  return items;
}

inline PreparedData fake_data() {
  PreparedData data(fake_items());
  for (int64_t i = 0; i < 4; ++i) {
    const int64_t frames = i < 2 ? 1 : kFrames;
    const std::vector<int64_t> shape = {frames, kChannels, kHeight, kWidth};
    data.set_posterior({.item = i, .flip = false, .clip = 0}, {formula(shape, i), formula(shape, 10 + i) + 0.75});
    data.set_embedding("caption " + std::to_string(i), formula({1, kTokens, 2}, 20 + i));
  }
  return data;
}

inline adapter::AdapterSet fake_adapters() {
  adapter::AdapterSet adapters({{"block.attn1.to_q", "spatial", kChannels, kChannels}}, kRank, true, at::kCPU);
  adapters.assign(at::cat({formula({kRank, kChannels}, 31).flatten(), formula({1, kChannels}, 32).flatten(),
                           formula({kChannels, kRank}, 33).flatten()}));
  return adapters;
}

/// Keeps a reference to `adapters`.
inline Denoise fake_denoiser(const adapter::AdapterSet& adapters, double dropout = 0) {
  return [&adapters, dropout, weight = formula({kChannels, kChannels}, 40)](
             const Tensor& latents, const Tensor& timestep, const Tensor& prompt, int64_t dropout_seed) {
    const int64_t batch = latents.size(0);
    const adapter::SiteAdapter& a = adapters.at(0);
    const Tensor x = latents.permute({0, 2, 3, 4, 1}).reshape({batch, -1, kChannels});
    const Tensor y = kernels::glora_linear(x, {weight}, {a.down, a.up, a.gate},
                                           {.groups = batch, .dropout = {dropout, dropout_seed, 0}})
                         .reshape({batch, latents.size(2), latents.size(3), latents.size(4), kChannels})
                         .permute({0, 4, 1, 2, 3});
    const std::vector<int64_t> per_item = {batch, 1, 1, 1, 1};
    return y * (1 - timestep.to(at::kFloat) / 1000).reshape(per_item) +
           prompt.mean(at::IntArrayRef{1, 2}).reshape(per_item);
  };
}

inline diffusion::NoiseSchedule fake_schedule(const std::string& prediction_type = "epsilon") {
  diffusion::ScheduleConstants constants;
  constants.prediction_type = prediction_type;
  return diffusion::NoiseSchedule(constants);
}

inline StepSettings fake_settings(const std::string& video_loss = "ait", double strength = 0.75) {
  StepSettings settings;
  settings.seed = kSeed;
  settings.scaling_factor = kScalingFactor;
  settings.loss.video = video_loss;
  settings.loss.shift_strength = strength;
  return settings;
}

inline RunIdentity fake_identity(const std::string& config_json = R"({"train": {"steps": 6}})") {
  return {config_json, "data", "denoiser"};
}

inline TrainerOptions fake_options(int64_t steps = 6) {
  TrainerOptions options;
  options.train.steps = steps;
  options.train.checkpoint_every = 2;
  options.train.learning_rate = 0.01;
  options.metadata.rank = kRank;
  options.metadata.denoiser_sha256 = "denoiser";
  return options;
}

/// All parts of a run in FOLDER; `wrap` may change what the denoiser does.
struct FakeRun {
  using Wrap = std::function<Denoise(Denoise)>;
  explicit FakeRun(
      const std::filesystem::path& path, TrainerOptions options = fake_options(), bool resume = false,
      const Wrap& wrap = [](Denoise denoise) { return denoise; }, Preview preview = {})
      : batches(data.items(), kSeed, batch_size, 0.0),
        step(data, fake_schedule(), wrap(fake_denoiser(adapters, 0.1)), fake_settings()),
        folder(path, fake_identity(), resume),
        trainer({data, batches, step, adapters, folder}, std::move(options), std::move(preview)) {}

  static constexpr int64_t batch_size = 3;
  PreparedData data = fake_data();
  adapter::AdapterSet adapters = fake_adapters();
  data::JointBatches batches;
  TrainingStep step;
  RunFolder folder;
  Trainer trainer;
};

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace jointtuner::train
