// The real work of each stage on the CPU, with every allocation of a tensor counted: what the forecast has to equal.
#pragma once
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include <optional>
#include <string>
#include <vector>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/forecast/stage.h"
#include "jointtuner/sample/denoise.h"
#include "jointtuner/sample/settings.h"
#include "jointtuner/train/denoise.h"
#include "jointtuner/train/optimizer.h"
#include "jointtuner/train/training_step.h"
#include "support/counting_allocator.h"
#include "support/temporary_folder.h"

namespace jointtuner::forecast {

struct Case {
  std::string bundle;
  int64_t height, width, frames;
  inject::SegmentMemory memory = inject::SegmentMemory::recompute;
  int64_t batch = 1;
};

inline Work work_of(const Case& one, const backbone::Manifest& manifest) {
  Work work;
  work.adapter.rank = 4;
  work.data.height = one.height;
  work.data.width = one.width;
  work.data.frames = one.frames;
  work.data.videos.resize(1);
  work.train.batch = one.batch;
  work.sample.prompts = {"a prompt"};
  work.sample.height = one.height;
  work.sample.width = one.width;
  work.sample.frames = one.frames;
  work.sample = sample::resolved(work.sample, manifest);
  work.segment_memory = {one.memory};
  return work;
}

/// Peak of adapters, optimiser and two steps on a batch of clips; the weights are the file's pages and not counted.
/// Besides what waits in the host's memory through a step whatever the device: the posterior's mean and std and the
/// sample of it (TrainingStep::run_same_kind).
inline int64_t counted_training(const backbone::Bundle& bundle, const Work& work) {
  const backbone::Manifest& manifest = bundle.manifest();
  const inject::GraphProgram program(bundle, at::kCPU,
                                     {.segment_memory = work.segment_memory, .gated = work.adapter.gate});
  std::vector<data::Item> items(1);
  items[0].kind = data::Kind::video;
  train::PreparedData data(items);
  const std::vector<int64_t> latents =
      backbone::latents_shape(manifest, {work.data.frames, work.data.height, work.data.width});
  const std::vector<int64_t> shape{backbone::latent_frames(manifest.latents, work.data.frames), latents[1], latents[3],
                                   latents[4]};
  const at::Tensor mean = at::randn(shape);
  data.set_posterior({}, {mean, at::ones(shape)});
  data.set_embedding("", at::randn({1, manifest.text.max_length, manifest.text.embedding_width}));

  testing::CountingAllocator counting;
  adapter::AdapterSet adapters(program.sites(), work.adapter.rank, work.adapter.gate, at::kCPU);
  adapters.set_requires_grad(true);
  train::AdamW optimizer(adapters.flat(), work.train);
  const train::TrainingStep step(data, diffusion::NoiseSchedule(manifest.schedule),
                                 train::adapted_denoiser(program, adapters, work.adapter),
                                 {.seed = 1,
                                  .scaling_factor = manifest.latents.scaling_factor,
                                  .frames_multiple = manifest.denoiser.frames_multiple,
                                  .device = at::kCPU,
                                  .loss = work.loss});
  data::JointBatch batch;
  batch.draws.resize(static_cast<size_t>(work.train.batch));
  for (int i = 0; i < 2; ++i) {
    adapters.zero_gradient();
    step.run(batch);
    optimizer.step(adapters.flat_gradient(), 1e-4);
  }
  return counting.peak() - 3 * work.train.batch * static_cast<int64_t>(mean.nbytes());
}

/// Peak of the adapters and three steps of the sampler.
inline int64_t counted_preview(const backbone::Bundle& bundle, const Work& work) {
  const backbone::Manifest& manifest = bundle.manifest();
  const inject::GraphProgram program(bundle, at::kCPU, {.gated = work.adapter.gate});
  sample::SampleOptions options = work.sample;
  options.steps = 3;
  const at::Tensor prompt = at::randn({1, manifest.text.max_length, manifest.text.embedding_width});
  testing::CountingAllocator counting;
  const at::Tensor latents = at::randn(backbone::latents_shape(manifest, sample::video_size(options)));
  const adapter::AdapterSet adapters(program.sites(), work.adapter.rank, work.adapter.gate, at::kCPU);
  sample::NamedAdapter named;
  named.adapters = &adapters;
  sample::denoise({program, at::kCPU, manifest.schedule, named},
                  {.latents = latents, .prompt = prompt, .unconditional = prompt, .seed = 0}, options, [](int64_t) {});
  return counting.peak();
}

/// Besides the latents and the result, which wait in the host's memory whatever the device.
inline int64_t counted_decode(const backbone::Bundle& bundle, const Work& work) {
  const backbone::Manifest& manifest = bundle.manifest();
  const backbone::Autoencoder autoencoder(
      bundle, at::kCPU, {.slice_frames = work.sample.decode_slice, .tile_px = work.sample.decode_tile});
  std::vector<int64_t> shape = backbone::latents_shape(manifest, sample::video_size(work.sample));
  shape[2] = backbone::latent_frames(manifest.latents, work.sample.frames);
  const at::Tensor latents = at::randn(shape);
  testing::CountingAllocator counting;
  const at::Tensor result = autoencoder.decode_to_bytes(latents);
  return counting.peak() - static_cast<int64_t>(result.nbytes());
}

/// Besides the result, which waits in the host's memory whatever the device.
inline int64_t counted_encode(const backbone::Bundle& bundle, const Work& work) {
  const backbone::Autoencoder autoencoder(bundle, at::kCPU, {.encode_tile_px = work.data.encode_tile});
  testing::CountingAllocator counting;
  const at::Tensor clip = at::randn({work.data.frames, 3, work.data.height, work.data.width}).clamp_(-1, 1);
  const Posterior result = autoencoder.encode(clip);
  return counting.peak() - static_cast<int64_t>(result.mean.nbytes() + result.std.nbytes());
}

}  // namespace jointtuner::forecast
