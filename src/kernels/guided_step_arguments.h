// The operator's flat argument list and guided_step.h's structs, each made of the other in one place.
#pragma once
#include <fmt/format.h>

#include <array>
#include <optional>
#include <tuple>

#include "jointtuner/base/error.h"
#include "jointtuner/kernels/guided_step.h"

namespace jointtuner::kernels {

/// The operator's `coefficients`: all but the clip, in StepCoefficients' order.
inline std::array<double, 7> coefficient_list(const StepCoefficients& c) {
  return {c.x0_from_latents, c.x0_from_prediction, c.from_latents, c.from_prediction,
          c.from_x0,         c.from_previous_x0,   c.from_noise};
}

inline StepCoefficients step_coefficients(at::ArrayRef<double> list, std::optional<double> x0_clip) {
  if (list.size() != 7)
    throw Error(fmt::format("guided_step: expected the 7 coefficients of a step, found {}", list.size()));
  return {list[0], list[1], x0_clip, list[2], list[3], list[4], list[5], list[6]};
}

/// A kernel with the operator's signature that calls `run` in place of it.
template <decltype(guided_step) run>
std::tuple<Tensor, Tensor> guided_step_kernel(const Tensor& latents, const Tensor& conditional,
                                              const std::optional<Tensor>& unconditional, double guidance_scale,
                                              at::ArrayRef<double> coefficients, std::optional<double> x0_clip,
                                              const std::optional<Tensor>& previous_x0,
                                              const std::optional<Tensor>& noise) {
  const StepResult result = run(latents, {conditional, unconditional, guidance_scale},
                                step_coefficients(coefficients, x0_clip), previous_x0, noise);
  return {result.next, result.x0};
}

}  // namespace jointtuner::kernels
