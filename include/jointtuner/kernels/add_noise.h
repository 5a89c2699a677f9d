// Noise added to latents, item by item at a timestep of its own, and the v target that belongs to it.
#pragma once
#include <ATen/core/Tensor.h>

namespace jointtuner::kernels {

using at::Tensor;

/// Draws from q(x_t | x_0) (DDPM, arXiv 2006.11239 eq. 4) for a batch whose items have timesteps of their own:
///
///   noisy = sqrt(a[t]) * latents + sqrt(1 - a[t]) * noise
///
/// latents, noise    [B, ...]  one floating dtype and shape
/// timestep t        [B]       int64, in 0 .. T-1
/// alphas_cumprod a  [T]       float32 or float64
/// returns noisy     [B, ...]  in latents' dtype
///
/// All on one device. The square roots are taken in float32 (float64 for float64 latents). Differentiable in latents
/// and noise, through the composition.
///
/// Schema:
///   jointtuner::add_noise(Tensor latents, Tensor noise, Tensor timestep, Tensor alphas_cumprod) -> Tensor
///
/// Throws Error when shapes, dtypes or devices do not fit, or (on the CPU) a timestep is outside the table; a GPU's
/// kernel stops with an assertion then.
Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod);

struct NoisyAndVelocity {
  Tensor noisy;
  Tensor velocity;
};

/// The same together with the v target (arXiv 2202.00512):
///
///   velocity = sqrt(a[t]) * noise - sqrt(1 - a[t]) * latents
///
/// Schema:
///   jointtuner::add_noise_with_velocity(Tensor latents, Tensor noise, Tensor timestep, Tensor alphas_cumprod)
///     -> (Tensor noisy, Tensor velocity)
NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod);

/// The definitions, composed of ATen's operators.
namespace reference {

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod);
NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod);

}  // namespace reference
}  // namespace jointtuner::kernels
