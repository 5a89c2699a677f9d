// One step of a sampler: guidance, prediction conversion and update.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace jointtuner::kernels {

using at::Tensor;

/// What the denoiser said:
///
///   prediction = unconditional + guidance_scale * (conditional - unconditional)
///
/// or just `conditional` when `unconditional` is absent (guidance_scale must then be 1).
struct GuidedPrediction {
  Tensor conditional;
  std::optional<Tensor> unconditional;
  double guidance_scale = 1;
};

/// The numbers of one sampler step that is linear in everything but the clip:
///
///   x0   = clip( x0_from_latents * x + x0_from_prediction * prediction, -x0_clip, x0_clip )
///   next = from_latents * x + from_prediction * prediction
///        + from_x0 * x0 + from_previous_x0 * previous_x0 + from_noise * noise
struct StepCoefficients {
  double x0_from_latents = 0;
  double x0_from_prediction = 0;
  std::optional<double> x0_clip;  ///< absent: no clip
  double from_latents = 0;
  double from_prediction = 0;
  double from_x0 = 0;
  double from_previous_x0 = 0;
  double from_noise = 0;
};

struct StepResult {
  Tensor next;  ///< latents of the next, less noisy timestep
  Tensor x0;    ///< the clean latents seen from here, which multistep samplers use again
};

/// Guidance, prediction conversion and sampler update of one step in one pass.
///
/// latents x, predictions, previous_x0, noise  one shape and device, floating dtypes
/// returns next, x0                            in latents' dtype; arithmetic in float32 (float64 for float64 latents)
///
/// previous_x0 and noise may be absent when their coefficient is 0. Differentiable through the composition.
///
/// Schema; coefficients are those of StepCoefficients but the clip, in its order:
///   jointtuner::guided_step(Tensor latents, Tensor conditional, Tensor? unconditional, float guidance_scale,
///                           float[] coefficients, float? x0_clip, Tensor? previous_x0, Tensor? noise)
///     -> (Tensor next, Tensor x0)
///
/// Throws Error when shapes or devices do not fit, a number is not finite, the clip is not above 0, or a tensor with a
/// coefficient other than 0 is absent.
StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const std::optional<Tensor>& previous_x0 = std::nullopt,
                       const std::optional<Tensor>& noise = std::nullopt);

namespace reference {

/// The definition, composed of ATen's operators.
StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const std::optional<Tensor>& previous_x0 = std::nullopt,
                       const std::optional<Tensor>& noise = std::nullopt);

}  // namespace reference
}  // namespace jointtuner::kernels
