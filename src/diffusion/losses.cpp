#include "jointtuner/diffusion/losses.h"

#include "jointtuner/kernels/shifted_mse.h"

namespace jointtuner::diffusion {

Tensor diffusion_loss(const Tensor& prediction, const Tensor& target) {
  return kernels::shifted_mse(prediction, target, std::nullopt, 0, kernels::LossReduction::per_item);
}

Tensor ait_loss(const Tensor& prediction, const Tensor& target, const Tensor& shift, double strength) {
  return kernels::shifted_mse(prediction, target, shift, strength, kernels::LossReduction::per_item);
}

}  // namespace jointtuner::diffusion
