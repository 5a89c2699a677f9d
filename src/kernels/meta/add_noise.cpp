#include "jointtuner/kernels/add_noise.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>

namespace jointtuner::kernels::meta {
namespace {

Tensor add_noise(const Tensor& latents, const Tensor&, const Tensor&, const Tensor&) {
  return at::empty(latents.sizes(), latents.options());
}

std::tuple<Tensor, Tensor> add_noise_with_velocity(const Tensor& latents, const Tensor&, const Tensor&, const Tensor&) {
  return {at::empty(latents.sizes(), latents.options()), at::empty(latents.sizes(), latents.options())};
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, Meta, m) {
  m.impl("add_noise", add_noise);
  m.impl("add_noise_with_velocity", add_noise_with_velocity);
}

}  // namespace jointtuner::kernels::meta
