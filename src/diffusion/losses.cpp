#include "jointtuner/diffusion/losses.h"

#include <ATen/TensorOperators.h>

#include "jointtuner/kernels/shifted_mse.h"

namespace jointtuner::diffusion {

Tensor diffusion_loss(const Tensor& prediction, const Tensor& target) {
  return kernels::shifted_mse(prediction, target, std::nullopt, 0, kernels::LossReduction::per_item);
}

Tensor ait_loss(const Tensor& prediction, const Tensor& target, const Tensor& shift, double strength) {
  return kernels::shifted_mse(prediction, target, shift, strength, kernels::LossReduction::per_item);
}

Tensor static_weighted_loss(const Tensor& prediction, const Tensor& target, double static_weight) {
  const at::ScalarType type = at::promote_types(prediction.scalar_type(), at::kFloat);  // a sum over halves overflows
  const Tensor fixed = (prediction.to(type) - target.to(type)).mean(at::IntArrayRef{1, 2});
  return diffusion_loss(prediction, target) - (1 - static_weight) * fixed.square().mean(at::IntArrayRef{1, 2});
}

}  // namespace jointtuner::diffusion
