// The losses: mean squared error, of a prediction that may be shifted.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace jointtuner::kernels {

using at::Tensor;

enum class LossReduction { mean, per_item };

/// Mean squared error of a shifted prediction (the AiT loss of JointTuner, arXiv 2503.23951 section 3.3; without shift
/// plain MSE):
///
///   L = mean( (prediction + strength * s - target)^2 )
///
/// prediction, target  [B, C, F, H, W]  one floating dtype (target may be float32 where prediction is half)
/// shift s             [B, 1, 1, H, W]  floating: one value a pixel for all channels and frames; absent: 0
/// returns L           []               mean: over everything
///                     [B]              per_item: each item's own mean
///
/// L is float32, float64 for float64 predictions. Differentiable once, in prediction only:
///
///   d L / d prediction = 2 (prediction + strength * s - target) / count
///
/// Forward allocates nothing of the latents' size, backward the gradient alone: it is computed from the saved inputs
/// once the factor from above (a loss scaler's) is known, because 2 / count alone would round to 0 in half precision.
/// Sums are accumulated in float64 in a fixed order, whatever the number of threads.
///
/// Schema:
///   jointtuner::shifted_mse(Tensor prediction, Tensor target, Tensor? shift, float strength, bool per_item=False)
///     -> Tensor
///
/// Throws Error when shapes or dtypes do not fit.
Tensor shifted_mse(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift, double strength,
                   LossReduction reduction = LossReduction::mean);

/// The definition, composed of ATen's operators.
namespace reference {

Tensor shifted_mse(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift, double strength,
                   LossReduction reduction = LossReduction::mean);
/// The gradient of prediction; grad_loss is [] or [B].
Tensor shifted_mse_backward(const Tensor& grad_loss, const Tensor& prediction, const Tensor& target,
                            const std::optional<Tensor>& shift, double strength);

}  // namespace reference
}  // namespace jointtuner::kernels
