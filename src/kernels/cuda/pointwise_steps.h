// add_noise, gated_update, guided_step and shifted_mse between ATen and the launchers, for float32, float16 and
// bfloat16 on a given stream. Apart from the bindings so that tests can run them without a GPU. The arguments are the
// operators', and have passed their checks.
#pragma once
#include <tuple>

#include "device/stream.h"
#include "jointtuner/kernels/add_noise.h"
#include "jointtuner/kernels/dropout_mask.h"
#include "jointtuner/kernels/guided_step.h"

namespace jointtuner::kernels::cuda {

using MaybeTensor = std::optional<Tensor>;

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
                 cudaStream_t stream);
NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod, cudaStream_t stream);

void gated_update(const Tensor& y, const Tensor& update, const MaybeTensor& gate, double scale, const DropoutMask& mask,
                  cudaStream_t stream);

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const MaybeTensor& previous_x0, const MaybeTensor& noise, cudaStream_t stream);

/// What is compared, in the loss and in its backward pass.
struct Compared {
  Tensor prediction, target;
  MaybeTensor shift;
  double strength;
};
Tensor shifted_mse(const Compared& compared, bool per_item, cudaStream_t stream);
Tensor shifted_mse_backward(const Tensor& grad_loss, const Compared& compared, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
