// add_noise, gated_update, guided_step and shifted_mse for CUDA tensors.
#include <torch/library.h>

#include "../guided_step_arguments.h"
#include "bindings.h"
#include "jointtuner/kernels/reference.h"
#include "pointwise_steps.h"

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

Tensor& gated_update_binding(Tensor& y, const Tensor& update, const MaybeTensor& gate, double scale, double dropout,
                             int64_t dropout_seed, int64_t site) {
  const DropoutMask mask{dropout, dropout_seed, site};
  if (is_double(y)) return y.copy_(reference::gated_update(y, update, gate, scale, mask));
  const CUDAGuard guard(y.device());
  gated_update(y, update, gate, scale, mask, current_stream());
  return y;
}

StepResult guided_step_binding(const Tensor& latents, const GuidedPrediction& prediction,
                               const StepCoefficients& coefficients, const MaybeTensor& previous_x0,
                               const MaybeTensor& noise) {
  if (is_double(latents)) return reference::guided_step(latents, prediction, coefficients, previous_x0, noise);
  const CUDAGuard guard(latents.device());
  return guided_step(latents, prediction, coefficients, previous_x0, noise, current_stream());
}

Tensor shifted_mse_binding(const Tensor& prediction, const Tensor& target, const MaybeTensor& shift, double strength,
                           bool per_item) {
  if (is_double(prediction))
    return reference::shifted_mse(prediction, target, shift, strength,
                                  per_item ? LossReduction::per_item : LossReduction::mean);
  const CUDAGuard guard(prediction.device());
  return shifted_mse({prediction, target, shift, strength}, per_item, current_stream());
}

Tensor shifted_mse_backward_binding(const Tensor& grad_loss, const Tensor& prediction, const Tensor& target,
                                    const MaybeTensor& shift, double strength) {
  if (is_double(prediction)) return reference::shifted_mse_backward(grad_loss, prediction, target, shift, strength);
  const CUDAGuard guard(prediction.device());
  return shifted_mse_backward(grad_loss, {prediction, target, shift, strength}, current_stream());
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CUDA, m) {
  m.impl("add_noise", add_noise_binding);
  m.impl("add_noise_with_velocity", add_noise_with_velocity_binding);
  m.impl("gated_update", gated_update_binding);
  m.impl("guided_step", guided_step_kernel<guided_step_binding>);
  m.impl("shifted_mse", shifted_mse_binding);
  m.impl("_shifted_mse_backward", shifted_mse_backward_binding);
}

}  // namespace jointtuner::kernels::cuda
