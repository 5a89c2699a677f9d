// One video's latents from noise: prompt, negative prompt, adapters and sampler settings to x0.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/backbone/manifest.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/sample/options.h"

namespace jointtuner::sample {

using at::Tensor;

/// The adapters that a video is sampled with, and how they were trained.
struct NamedAdapter {
  std::string label;                              ///< for sheets and logs: "step 500"; "frozen" without adapters
  const adapter::AdapterSet* adapters = nullptr;  ///< null: the frozen backbone
  adapter::AdapterMetadata metadata;              ///< its scale and gate pooling hold unless the options say otherwise
};

/// How the adapters act when sampling: scale = metadata.scale * adapter_scale, further factors by group ("spatial",
/// "temporal"), no dropout, gates pooled as the options say or else as trained.
inject::AdapterRun adapter_run(const SampleOptions& options, const NamedAdapter& named,
                               const inject::GraphProgram& program);

/// The initial latents of a video: N(0,1) [1,C,F,h,w] fp32 on the CPU from generator(seed, 0, "latents") (the sample
/// index of design §5 is always 0: every video has a seed of its own).
Tensor initial_noise(const std::vector<int64_t>& shape, int64_t seed);

/// Noise prior: sqrt(strength) * inverted + sqrt(1 - strength) * noise.
Tensor with_noise_prior(const Tensor& noise, const Tensor& inverted, double strength);

/// What one video is made from. All tensors fp32 on any device.
struct DenoiseInputs {
  Tensor latents;        ///< initial [1,C,F,h,w]
  Tensor prompt;         ///< prompt embedding [1,L,D]
  Tensor unconditional;  ///< embedding of the negative prompt [1,L,D]; unused with guidance 1
  int64_t seed = 0;      ///< of the fresh noise of stochastic samplers, generator(seed, 0, "sampler/<n>")
};

/// Denoised latents [1,C,F,h,w], fp32 on the CPU. Each step is one call of the denoiser: a batch of two, unconditional
/// first, or of one with guidance 1. `after_step(done)` is called between steps; what it throws ends the sampling.
/// Throws Error when a value of the result is not finite, naming the video's seed.
Tensor denoise(const inject::GraphProgram& program, const NamedAdapter& named, const DenoiseInputs& inputs,
               const SampleOptions& options, const backbone::ScheduleManifest& schedule, at::Device device,
               const std::function<void(int64_t done)>& after_step);

/// DDIM inversion of `latents` [1,C,F,h,w] over `options.steps` steps by the frozen backbone under `prompt` (the empty
/// prompt's embedding), without guidance: the noise that leads back to them. fp32 on the CPU.
Tensor inverted_latents(const inject::GraphProgram& program, const Tensor& latents, const Tensor& prompt,
                        const SampleOptions& options, const backbone::ScheduleManifest& schedule, at::Device device);

}  // namespace jointtuner::sample
