// Training losses (JointTuner, arXiv 2503.23951 section 3.3) as functions of tensors. An image is a clip of one frame.
#pragma once
#include <ATen/core/Tensor.h>

namespace jointtuner::diffusion {

using at::Tensor;

/// Each item's mean((prediction - target)^2). prediction, target [B,C,F,H,W]; returns [B] float32, differentiable in
/// prediction.
Tensor diffusion_loss(const Tensor& prediction, const Tensor& target);

/// The appearance-independent temporal loss: each item's mean((prediction + strength * shift - target)^2), where shift
/// [B,1,1,H,W] ~ N(0,1) is one value a pixel, shared by channels and frames. In expectation over the shift
/// E[L] = MSE + strength^2, with the plain loss's gradient; the shift only adds noise to the gradient of the residual's
/// mean over channels and frames, its static part. Returns [B] float32, differentiable in prediction. Strength 0 is
/// diffusion_loss exactly. For v prediction this equals the published x0 form weighted with 1/(1 - alphas_cumprod).
Tensor ait_loss(const Tensor& prediction, const Tensor& target, const Tensor& shift, double strength);

}  // namespace jointtuner::diffusion
