#include "jointtuner/forecast/stage.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/backbone/text_encoder.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/diffusion/guidance.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/forecast/dry_run.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/sample/denoise.h"
#include "jointtuner/sample/settings.h"
#include "jointtuner/train/denoise.h"
#include "jointtuner/train/optimizer.h"
#include "jointtuner/train/training_step.h"

namespace jointtuner::forecast {

namespace {

using at::Tensor;

// Zeros of any size in the memory of one.
Tensor zeros(const std::vector<int64_t>& shape) { return at::zeros({}, at::kFloat).expand(shape); }

Stage stage(const char* name, const DryRun& run, int64_t weights, int64_t adapters) {
  Stage found;
  found.name = name;
  found.weights = weights;
  found.adapters = adapters;
  found.activations = run.peak() - weights - adapters;
  found.rounding = run.peak_in_blocks() - run.peak();
  return found;
}

// The frozen denoiser with its adapters, and, where it trains, their gradients and the optimiser.
struct Trained {
  Trained(const backbone::Bundle& bundle, const Work& work, const DryRun& run, bool training)
      : program(bundle, at::kMeta,
                {.activation_checkpointing = work.train.activation_checkpointing, .gated = work.adapter.gate}),
        weights(run.live()),
        adapters(program.sites(), work.adapter.rank, work.adapter.gate, at::kMeta) {
    adapters.set_requires_grad(training);
    if (training) optimizer.emplace(adapters.flat(), work.train);
    state = run.live() - weights;
  }

  const inject::GraphProgram program;
  const int64_t weights;
  adapter::AdapterSet adapters;
  std::optional<train::AdamW> optimizer;
  int64_t state = 0;
};

// A picture and a clip of the run's sizes, those that it has.
train::PreparedData largest_items(const backbone::Manifest& manifest, const data::DataOptions& options) {
  std::vector<data::Item> items;
  const auto add = [&items](data::Kind kind) { items.emplace_back().kind = kind; };
  if (!options.images.empty()) add(data::Kind::image);
  if (!options.videos.empty() || items.empty()) add(data::Kind::video);
  train::PreparedData data(items);
  for (size_t i = 0; i < items.size(); ++i) {
    const int64_t frames = items[i].kind == data::Kind::video ? options.frames : 1;
    const int64_t factor = manifest.latents.spatial_compression;
    const std::vector<int64_t> shape{(frames - 1) / manifest.latents.temporal_compression + 1,
                                     manifest.latents.channels, options.height / factor, options.width / factor};
    data.set_posterior({.item = static_cast<int64_t>(i), .flip = false, .clip = 0}, {zeros(shape), zeros(shape)});
  }
  data.set_embedding("", zeros({1, manifest.text.max_length, manifest.text.embedding_width}));
  return data;
}

}  // namespace

Stage encode_text(const backbone::Bundle& bundle, c10::Device described) {
  const DryRun run(described);
  const backbone::TextEncoder encoder(bundle, at::kMeta);
  const int64_t weights = run.live();
  encoder.encode("");
  return stage("encode text", run, weights, 0);
}

Stage encode_latents(const backbone::Bundle& bundle, const Work& work, c10::Device described) {
  const DryRun run(described);
  const backbone::Autoencoder autoencoder(bundle, at::kMeta, {.encode_tile_px = work.data.encode_tile});
  const int64_t weights = run.live();
  const int64_t frames = work.data.videos.empty() && !work.data.images.empty() ? 1 : work.data.frames;
  autoencoder.encode(zeros({frames, 3, work.data.height, work.data.width}));
  return stage("encode latents", run, weights, 0);
}

Stage train(const backbone::Bundle& bundle, const Work& work, c10::Device described) {
  const backbone::Manifest& manifest = bundle.manifest();
  DryRun run(described);
  Trained trained(bundle, work, run, /*training=*/true);
  const train::PreparedData data = largest_items(manifest, work.data);
  const train::TrainingStep step(data, diffusion::NoiseSchedule(manifest.schedule),
                                 train::adapted_denoiser(trained.program, trained.adapters, work.adapter),
                                 {.seed = 0,
                                  .scaling_factor = manifest.latents.scaling_factor,
                                  .frames_multiple = manifest.denoiser.frames_multiple,
                                  .device = at::kMeta,
                                  .loss = work.loss});
  run.start_peak();
  for (size_t item = 0; item < data.items().size(); ++item) {
    data::JointBatch batch;
    batch.draws.assign(static_cast<size_t>(work.train.batch), data::Draw{.item = static_cast<int64_t>(item), .flip = false, .clip = 0});
    trained.adapters.zero_gradient();
    step.run(batch);
    trained.optimizer->step(trained.adapters.flat_gradient(), work.train.learning_rate);
  }
  return stage("train", run, trained.weights, trained.state);
}

Stage preview(const backbone::Bundle& bundle, const Work& work, c10::Device described) {
  constexpr int64_t kSteps = 3;  // a multistep sampler holds all that it ever does after two
  const backbone::Manifest& manifest = bundle.manifest();
  DryRun run(described);
  const Trained trained(bundle, work, run, work.previews);
  run.start_peak();
  sample::NamedAdapter named;
  named.adapters = &trained.adapters;
  sample::SampleOptions options = work.sample;
  options.steps = std::min(kSteps, options.steps);
  const Tensor prompt = zeros({1, manifest.text.max_length, manifest.text.embedding_width});
  const std::vector<int64_t> shape = backbone::latents_shape(manifest, sample::video_size(options));
  sample::denoise({trained.program, at::kMeta, manifest.schedule, named},
                  {.latents = zeros(shape), .prompt = prompt, .unconditional = prompt, .seed = 0}, options,
                  [](int64_t) {});
  return stage("preview", run, trained.weights, trained.state);
}

Stage decode(const backbone::Bundle& bundle, const Work& work, c10::Device described) {
  const backbone::Manifest& manifest = bundle.manifest();
  const DryRun run(described);
  std::optional<Trained> trained;
  if (work.previews) trained.emplace(bundle, work, run, true);
  const int64_t state = trained ? trained->state : 0;
  const backbone::Autoencoder autoencoder(
      bundle, at::kMeta, {.slice_frames = work.sample.decode_slice, .tile_px = work.sample.decode_tile});
  const int64_t weights = run.live() - state;
  std::vector<int64_t> shape = backbone::latents_shape(manifest, sample::video_size(work.sample));
  shape[2] = backbone::latent_frames(manifest, work.sample.frames);  // without the denoiser's padding
  autoencoder.decode_to_bytes(zeros(shape));
  return stage("decode", run, weights, state);
}

}  // namespace jointtuner::forecast
