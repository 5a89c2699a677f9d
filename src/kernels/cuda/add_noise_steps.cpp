#include "add_noise_steps.h"

#include <ATen/ops/empty_like.h>

#include "add_noise.h"
#include "tensor_arguments.h"

namespace jointtuner::kernels::cuda {
namespace {

Tensor empty_contiguous(const Tensor& like) { return at::empty_like(like, at::MemoryFormat::Contiguous); }

/// velocity may be undefined.
void fill(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
          const NoisyAndVelocity& result, cudaStream_t stream) {
  if (latents.numel() == 0) return;
  const Tensor x = latents.contiguous(), e = noise.contiguous(), steps = timestep.contiguous(),
               table = alphas_cumprod.to(at::kFloat).contiguous();
  const int64_t items = x.size(0);
  for_type_of(x, "add_noise", [&]<class T>() {
    add_noise<T>({x.const_data_ptr<T>(), e.const_data_ptr<T>(), steps.const_data_ptr<int64_t>(),
                  table.const_data_ptr<float>(), result.noisy.mutable_data_ptr<T>(),
                  result.velocity.defined() ? result.velocity.mutable_data_ptr<T>() : nullptr, items, x.numel() / items,
                  table.numel()},
                 stream);
  });
}

}  // namespace

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
                 cudaStream_t stream) {
  const Tensor noisy = empty_contiguous(latents);
  fill(latents, noise, timestep, alphas_cumprod, {noisy, Tensor()}, stream);
  return noisy;
}

NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod, cudaStream_t stream) {
  const NoisyAndVelocity result{empty_contiguous(latents), empty_contiguous(latents)};
  fill(latents, noise, timestep, alphas_cumprod, result, stream);
  return result;
}

}  // namespace jointtuner::kernels::cuda
