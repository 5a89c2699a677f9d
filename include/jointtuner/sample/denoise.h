// One video's latents from noise: prompt, negative prompt, adapters and sampler settings to x0.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/diffusion/schedule_constants.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/sample/options.h"

namespace jointtuner::sample {

using at::Tensor;

/// The adapters that a video is sampled with, and how they were trained.
struct NamedAdapter {
  std::string label = "frozen";                   ///< for sheets and logs: "step 500"
  const adapter::AdapterSet* adapters = nullptr;  ///< null: the frozen backbone
  adapter::AdapterMetadata metadata;              ///< its scale and gate pooling hold unless the options say otherwise
};

/// How the adapters act when sampling: scale = metadata.scale * adapter_scale, spatial_scale and temporal_scale on the
/// sites of these groups, no dropout, gates pooled as the options say or else as trained.
inject::AdapterRun adapter_run(const SampleOptions& options, const NamedAdapter& named,
                               const std::vector<adapter::Site>& sites);

/// The initial latents of a video: N(0,1), fp32 on the CPU, from generator(seed, 0, "latents"). Every video has a seed
/// of its own, so the sample index of that generator is always 0.
Tensor initial_noise(const std::vector<int64_t>& shape, int64_t seed);

/// What denoises: a program on a device, with or without adapters, and the backbone's schedule.
struct Denoiser {
  const inject::GraphProgram& program;
  at::Device device;
  const diffusion::ScheduleConstants& schedule;
  const NamedAdapter& named;
};

/// What one video is made from; tensors on any device.
struct DenoiseInputs {
  Tensor latents;        ///< initial [1,C,F,h,w] fp32
  Tensor prompt;         ///< prompt embedding [1,L,D]
  Tensor unconditional;  ///< embedding of the negative prompt [1,L,D]; unused with guidance 1
  int64_t seed = 0;  ///< of a stochastic sampler's noise: generator(seed, 0, "sampler/<n>") for its step n = 0, 1, ..
};

/// Denoised latents [1,C,F,h,w], fp32 on the CPU. Each step is one call of the denoiser: a batch of two, unconditional
/// first, or of one with guidance 1. `options` as from resolved(). `after_step(done)` is called after each step; what
/// it throws ends the sampling. Throws Error when the result is not finite.
Tensor denoise(const Denoiser& denoiser, const DenoiseInputs& inputs, const SampleOptions& options,
               const std::function<void(int64_t done)>& after_step);

/// DDIM inversion of clean `latents` [1,C,F,h,w] over options.steps steps under `prompt` (the empty prompt's
/// embedding), without guidance: the noise that leads back to them, fp32 on the CPU.
Tensor inverted_latents(const Denoiser& denoiser, const Tensor& latents, const Tensor& prompt,
                        const SampleOptions& options, const std::function<void(int64_t done)>& after_step);

}  // namespace jointtuner::sample
