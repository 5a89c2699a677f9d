// The denoiser as the training step sees it: a function.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/adapter/options.h"
#include "jointtuner/inject/graph_program.h"

namespace jointtuner::train {

using at::Tensor;

/// (noisy latents [B,C,F,h,w], timestep [B] int64, prompt embedding [B,L,D], dropout seed) -> prediction [B,C,F,h,w]
/// fp32, differentiable in the trained adapters.
using Denoise = std::function<Tensor(const Tensor& latents, const Tensor& timestep, const Tensor& prompt_embedding,
                                     int64_t dropout_seed)>;

/// The frozen denoiser with `adapters` in their training state (scale, dropout and gate pooling of `options`). Keeps
/// references to both.
Denoise adapted_denoiser(const inject::GraphProgram& program, const adapter::AdapterSet& adapters,
                         const adapter::AdapterOptions& options);

}  // namespace jointtuner::train
