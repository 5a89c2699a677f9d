// Every operator as the plain composition of ATen calls that defines it. This is what tests and `doctor` compare a
// backend with, and what runs on a device that has no code of its own. Same arguments and results as the operator's own
// header; differentiable by autograd, which saves more than the operators do.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "jointtuner/kernels/add_noise.h"
#include "jointtuner/kernels/dropout_mask.h"
#include "jointtuner/kernels/guided_step.h"
#include "jointtuner/kernels/shifted_mse.h"

namespace jointtuner::kernels::reference {

/// y = x W^T + b + scale * g * Dropout((x D^T) U^T), in the order of the formula. Unlike the operator it rounds half
/// precision after each step, as Python does under autocast.
Tensor glora_linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const Tensor& lora_down,
                    const Tensor& lora_up, const std::optional<Tensor>& lora_gate, double scale, int64_t groups,
                    double dropout, int64_t dropout_seed, int64_t site);

/// 0 or 1 / (1 - p): Philox in 64-bit integer tensor arithmetic.
Tensor dropout_factors(const Tensor& like, const DropoutMask& mask);

/// y + scale * g[group] * Dropout_p(update), not in place.
Tensor gated_update(const Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                    const DropoutMask& mask);

Tensor shifted_mse(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift, double strength,
                   LossReduction reduction);
/// The gradient of prediction; grad_loss is [] or [B].
Tensor shifted_mse_backward(const Tensor& grad_loss, const Tensor& prediction, const Tensor& target,
                            const std::optional<Tensor>& shift, double strength);

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const std::optional<Tensor>& previous_x0, const std::optional<Tensor>& noise);

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod);
NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod);

}  // namespace jointtuner::kernels::reference
