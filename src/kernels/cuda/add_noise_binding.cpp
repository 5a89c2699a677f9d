#include <torch/library.h>

#include <tuple>

#include "add_noise_steps.h"
#include "binding.h"

namespace jointtuner::kernels::cuda {
namespace {

Tensor add_noise_binding(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                         const Tensor& alphas_cumprod) {
  if (is_double(latents)) return reference::add_noise(latents, noise, timestep, alphas_cumprod);
  const CUDAGuard guard(latents.device());
  return add_noise(latents, noise, timestep, alphas_cumprod, current_stream());
}

std::tuple<Tensor, Tensor> add_noise_with_velocity_binding(const Tensor& latents, const Tensor& noise,
                                                           const Tensor& timestep, const Tensor& alphas_cumprod) {
  const CUDAGuard guard(latents.device());
  const NoisyAndVelocity result =
      is_double(latents) ? reference::add_noise_with_velocity(latents, noise, timestep, alphas_cumprod)
                         : add_noise_with_velocity(latents, noise, timestep, alphas_cumprod, current_stream());
  return {result.noisy, result.velocity};
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CUDA, m) {
  m.impl("add_noise", add_noise_binding);
  m.impl("add_noise_with_velocity", add_noise_with_velocity_binding);
}

}  // namespace jointtuner::kernels::cuda
