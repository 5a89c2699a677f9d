// What a denoiser's output means. This is the only place that knows the difference between epsilon and v.
//
// With a = alphas_cumprod[t], x = sqrt(a) x0 + sqrt(1-a) epsilon (DDPM, arXiv 2006.11239) and
// v = sqrt(a) epsilon - sqrt(1-a) x0 (arXiv 2202.00512):
//
//   prediction   x0                                epsilon
//   epsilon      (x - sqrt(1-a) prediction)/sqrt(a)   prediction
//   v            sqrt(a) x - sqrt(1-a) prediction     sqrt(1-a) x + sqrt(a) prediction
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>

namespace jointtuner::diffusion {

using at::Tensor;

enum class PredictionType { epsilon, v };

/// "epsilon", "v" or "v_prediction"; anything else is an Error that names what is allowed.
PredictionType parse_prediction_type(std::string_view name);
std::string name(PredictionType type);

/// x0 and epsilon as linear combinations of the latents x and the prediction.
struct Conversion {
  double x0_from_latents, x0_from_prediction;
  double epsilon_from_latents, epsilon_from_prediction;
};

/// The table above at alpha_cumprod a in [0, 1]. Throws Error for epsilon at a = 0: pure noise says nothing about x0.
Conversion conversion(PredictionType type, double alpha_cumprod);

/// A training example: noisy latents and what the denoiser should say about them.
struct NoisyExample {
  Tensor latents;  ///< sqrt(a[t]) x0 + sqrt(1-a[t]) noise
  Tensor target;   ///< noise, or v
};

/// latents x0 and noise [B, ...] of one shape and dtype, timestep [B] int64, alphas_cumprod [T] float32 on their
/// device.
NoisyExample noisy_example(PredictionType type, const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                           const Tensor& alphas_cumprod);

}  // namespace jointtuner::diffusion
