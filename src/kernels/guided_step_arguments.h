// The operator's flat argument list, gathered into the structs of guided_step.h in one place.
#pragma once
#include <optional>
#include <tuple>

#include "jointtuner/kernels/guided_step.h"

namespace jointtuner::kernels {

/// jointtuner::guided_step through the dispatcher.
std::tuple<Tensor, Tensor> call_guided_step(const Tensor& latents, const GuidedPrediction& prediction,
                                            const StepCoefficients& coefficients,
                                            const std::optional<Tensor>& previous_x0,
                                            const std::optional<Tensor>& noise);

/// A kernel with the operator's signature that calls `step` with the structs.
template <StepResult (*step)(const Tensor&, const GuidedPrediction&, const StepCoefficients&,
                             const std::optional<Tensor>&, const std::optional<Tensor>&)>
std::tuple<Tensor, Tensor> guided_step_kernel(const Tensor& latents, const Tensor& conditional,
                                              const std::optional<Tensor>& unconditional, double guidance_scale,
                                              double x0_from_latents, double x0_from_prediction,
                                              std::optional<double> x0_clip, double from_latents,
                                              double from_prediction, double from_x0,
                                              const std::optional<Tensor>& previous_x0, double from_previous_x0,
                                              const std::optional<Tensor>& noise, double from_noise) {
  const StepCoefficients coefficients{x0_from_latents, x0_from_prediction, x0_clip,   from_latents, from_prediction,
                                      from_x0,         from_previous_x0,   from_noise};
  const StepResult result =
      step(latents, {conditional, unconditional, guidance_scale}, coefficients, previous_x0, noise);
  return {result.next, result.x0};
}

}  // namespace jointtuner::kernels
