#include "training.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include "jointtuner/backbone/video_size.h"
#include "jointtuner/train/denoise.h"

namespace jointtuner::forecast {

namespace {

at::Tensor zeros(const std::vector<int64_t>& shape) { return at::zeros({}, at::kFloat).expand(shape); }

/// A picture and a clip of the run's sizes, those that it has.
train::PreparedData largest_items(const backbone::Manifest& manifest, const data::DataOptions& options) {
  std::vector<data::Item> items;
  const auto add = [&items](data::Kind kind) { items.emplace_back().kind = kind; };
  if (!options.images.empty()) add(data::Kind::image);
  if (!options.videos.empty() || items.empty()) add(data::Kind::video);
  train::PreparedData data(items);
  for (size_t i = 0; i < items.size(); ++i) {
    const int64_t frames = items[i].kind == data::Kind::video ? options.frames : 1;
    const int64_t factor = manifest.latents.spatial_compression;
    const std::vector<int64_t> shape{backbone::latent_frames(manifest.latents, frames), manifest.latents.channels,
                                     options.height / factor, options.width / factor};
    data.set_posterior({.item = static_cast<int64_t>(i), .flip = false, .clip = 0}, {zeros(shape), zeros(shape)});
  }
  data.set_embedding("", zeros({1, manifest.text.max_length, manifest.text.embedding_width}));
  return data;
}

train::StepSettings step_settings(const backbone::Manifest& manifest, const Work& work) {
  return {.seed = 0,
          .scaling_factor = manifest.latents.scaling_factor,
          .frames_multiple = manifest.denoiser.frames_multiple,
          .device = at::kMeta,
          .loss = work.loss};
}

}  // namespace

Trained::Trained(const backbone::Bundle& bundle, const Work& work, const DryRun& run, bool training)
    : program(bundle, at::kMeta, {.segment_memory = work.segment_memory, .gated = work.adapter.gate}),
      weights(run.live()),
      adapters(program.sites(), work.adapter.rank, work.adapter.gate, at::kMeta) {
  adapters.set_requires_grad(training);
  if (training) optimizer.emplace(adapters.flat(), work.train);
  state = run.live() - weights;
}

Training::Training(const backbone::Bundle& bundle, const Work& work, c10::Device described)
    : work_(work),
      run_(described),
      trained_(bundle, work, run_, /*training=*/true),
      data_(largest_items(bundle.manifest(), work.data)),
      step_(data_, diffusion::NoiseSchedule(bundle.manifest().schedule),
            train::adapted_denoiser(trained_.program, trained_.adapters, work_.adapter),
            step_settings(bundle.manifest(), work)) {}

Stage Training::steps(const std::vector<inject::SegmentMemory>& segment_memory) {
  trained_.program.set_segment_memory(segment_memory);
  run_.start_peak();
  for (size_t item = 0; item < data_.items().size(); ++item) {
    data::JointBatch batch;
    batch.draws.assign(static_cast<size_t>(work_.train.batch),
                       data::ItemDraw{.item = static_cast<int64_t>(item), .flip = false, .clip = 0});
    trained_.adapters.zero_gradient();
    step_.run(batch);
    trained_.optimizer->step(trained_.adapters.flat_gradient(), work_.train.learning_rate);
  }
  Stage found = stage("train", run_, trained_.weights, trained_.state);
  found.host = trained_.program.host_bytes();
  return found;
}

Stage stage(const char* name, const DryRun& run, int64_t weights, int64_t adapters) {
  Stage found;
  found.name = name;
  found.weights = weights;
  found.adapters = adapters;
  found.activations = run.peak() - weights - adapters;
  found.rounding = run.peak_in_blocks() - run.peak();
  return found;
}

}  // namespace jointtuner::forecast
