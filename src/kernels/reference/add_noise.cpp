#include "jointtuner/kernels/add_noise.h"

#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "../accumulation.h"

namespace jointtuner::kernels::reference {
namespace {

struct Amplitudes {
  Tensor signal, noise;
};

/// sqrt(a[t]) and sqrt(1 - a[t]) as [B, 1, ..., 1].
Amplitudes amplitudes(const Tensor& latents, const Tensor& timestep, const Tensor& alphas_cumprod) {
  std::vector<int64_t> shape(static_cast<size_t>(latents.dim()), 1);
  shape[0] = latents.size(0);
  const Tensor a = alphas_cumprod.to(accumulation_dtype(latents)).index_select(0, timestep).view(shape);
  return {a.sqrt(), (1 - a).sqrt()};
}

std::tuple<Tensor, Tensor> pair(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                const Tensor& alphas_cumprod) {
  const NoisyAndVelocity result = add_noise_with_velocity(latents, noise, timestep, alphas_cumprod);
  return {result.noisy, result.velocity};
}

}  // namespace

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod) {
  const Amplitudes a = amplitudes(latents, timestep, alphas_cumprod);
  return (a.signal * latents + a.noise * noise).to(latents.scalar_type());
}

NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod) {
  const Amplitudes a = amplitudes(latents, timestep, alphas_cumprod);
  return {(a.signal * latents + a.noise * noise).to(latents.scalar_type()),
          (a.signal * noise - a.noise * latents).to(latents.scalar_type())};
}

TORCH_LIBRARY_IMPL(jointtuner, CompositeExplicitAutograd, m) {
  m.impl("add_noise", add_noise);
  m.impl("add_noise_with_velocity", pair);
}

}  // namespace jointtuner::kernels::reference
