#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "add_noise.h"
#include "bindings.h"
#include "jointtuner/kernels/reference.h"

namespace jointtuner::kernels::cuda {
namespace {

/// velocity may be undefined.
void fill(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
          const Tensor& noisy, const Tensor& velocity) {
  const Tensor x = latents.contiguous(), e = noise.contiguous(), steps = timestep.contiguous(),
               table = alphas_cumprod.to(at::kFloat).contiguous();
  if (x.numel() == 0) return;
  dispatch(x, "add_noise", [&]<class T>() {
    add_noise<T>(
        {x.const_data_ptr<T>(), e.const_data_ptr<T>(), steps.const_data_ptr<int64_t>(), table.const_data_ptr<float>(),
         noisy.mutable_data_ptr<T>(), velocity.defined() ? velocity.mutable_data_ptr<T>() : nullptr, x.size(0),
         x.numel() / x.size(0), table.numel()},
        current_stream());
  });
}

Tensor add_noise_binding(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                         const Tensor& alphas_cumprod) {
  if (is_double(latents)) return reference::add_noise(latents, noise, timestep, alphas_cumprod);
  const CUDAGuard guard(latents.device());
  const Tensor noisy = at::empty_like(latents, at::MemoryFormat::Contiguous);
  fill(latents, noise, timestep, alphas_cumprod, noisy, Tensor());
  return noisy;
}

std::tuple<Tensor, Tensor> add_noise_with_velocity_binding(const Tensor& latents, const Tensor& noise,
                                                           const Tensor& timestep, const Tensor& alphas_cumprod) {
  if (is_double(latents)) {
    const NoisyAndVelocity result = reference::add_noise_with_velocity(latents, noise, timestep, alphas_cumprod);
    return {result.noisy, result.velocity};
  }
  const CUDAGuard guard(latents.device());
  const Tensor noisy = at::empty_like(latents, at::MemoryFormat::Contiguous), velocity = at::empty_like(noisy);
  fill(latents, noise, timestep, alphas_cumprod, noisy, velocity);
  return {noisy, velocity};
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CUDA, m) {
  m.impl("add_noise", add_noise_binding);
  m.impl("add_noise_with_velocity", add_noise_with_velocity_binding);
}

}  // namespace jointtuner::kernels::cuda
