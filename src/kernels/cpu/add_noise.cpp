#include "jointtuner/kernels/add_noise.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <cmath>
#include <tuple>

#include "../accumulation.h"

namespace jointtuner::kernels::cpu {
namespace {

/// velocity may be undefined.
template <class T>
void fill(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
          const Tensor& noisy, const Tensor& velocity) {
  using U = accumulation_t<T>;
  const Tensor table = alphas_cumprod.to(accumulation_dtype(latents)).contiguous(), steps = timestep.contiguous();
  const int64_t per_item = latents.numel() / latents.size(0);
  const T *x = latents.const_data_ptr<T>(), *e = noise.const_data_ptr<T>();
  T* out = noisy.mutable_data_ptr<T>();
  T* v = velocity.defined() ? velocity.mutable_data_ptr<T>() : nullptr;
  for (int64_t item = 0; item < latents.size(0); ++item) {
    const U a = table.const_data_ptr<U>()[steps.const_data_ptr<int64_t>()[item]];
    const U signal = std::sqrt(a), spread = std::sqrt(1 - a);
    at::parallel_for(item * per_item, (item + 1) * per_item, 32768, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) out[i] = static_cast<T>(signal * U(x[i]) + spread * U(e[i]));
      if (!v) return;
      for (int64_t i = first; i < last; ++i) v[i] = static_cast<T>(signal * U(e[i]) - spread * U(x[i]));
    });
  }
}

void fill_any(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
              const Tensor& noisy, const Tensor& velocity) {
  if (latents.numel() == 0) return;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, latents.scalar_type(), "add_noise", [&] {
    fill<scalar_t>(latents.contiguous(), noise.contiguous(), timestep, alphas_cumprod, noisy, velocity);
  });
}

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod) {
  const Tensor noisy = at::empty_like(latents, at::MemoryFormat::Contiguous);
  fill_any(latents, noise, timestep, alphas_cumprod, noisy, Tensor());
  return noisy;
}

std::tuple<Tensor, Tensor> add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                                   const Tensor& alphas_cumprod) {
  const Tensor noisy = at::empty_like(latents, at::MemoryFormat::Contiguous);
  const Tensor velocity = at::empty_like(latents, at::MemoryFormat::Contiguous);
  fill_any(latents, noise, timestep, alphas_cumprod, noisy, velocity);
  return {noisy, velocity};
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CPU, m) {
  m.impl("add_noise", add_noise);
  m.impl("add_noise_with_velocity", add_noise_with_velocity);
}

}  // namespace jointtuner::kernels::cpu
