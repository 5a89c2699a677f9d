#include "jointtuner/kernels/guided_step.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "guided_step_arguments.h"
#include "handle.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::kernels {
namespace {

using MaybeTensor = std::optional<Tensor>;

[[noreturn]] void fail(const std::string& text) { throw Error("guided_step: " + text); }

void check_like(const Tensor& tensor, const Tensor& latents, const char* name) {
  if (tensor.sizes() != latents.sizes() || tensor.device() != latents.device() || !tensor.is_floating_point())
    fail(fmt::format("expected floating {} like latents {} on {}, found {} {} on {}", name, shape_text(latents.sizes()),
                     latents.device().str(), c10::toString(tensor.scalar_type()), shape_text(tensor.sizes()),
                     tensor.device().str()));
}

void check_term(const MaybeTensor& tensor, double coefficient, const Tensor& latents, const char* name) {
  if (tensor)
    check_like(*tensor, latents, name);
  else if (coefficient != 0)
    fail(fmt::format("{} is absent, but its coefficient is {}", name, coefficient));
}

void check(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& c,
           const MaybeTensor& previous_x0, const MaybeTensor& noise) {
  if (!latents.is_floating_point()) fail("expected floating latents");
  check_like(prediction.conditional, latents, "the conditional prediction");
  if (prediction.unconditional)
    check_like(*prediction.unconditional, latents, "the unconditional prediction");
  else if (prediction.guidance_scale != 1)
    fail(fmt::format("guidance scale {} needs an unconditional prediction", prediction.guidance_scale));
  const auto numbers = coefficient_list(c);
  if (!std::isfinite(prediction.guidance_scale) ||
      !std::all_of(numbers.begin(), numbers.end(), [](double number) { return std::isfinite(number); }))
    fail("expected finite coefficients and guidance scale");
  if (c.x0_clip && !(*c.x0_clip > 0)) fail(fmt::format("expected a clip above 0, found {}", *c.x0_clip));
  check_term(previous_x0, c.from_previous_x0, latents, "previous_x0");
  check_term(noise, c.from_noise, latents, "noise");
}

/// Sampling asks for no gradients; whoever does gets them from the composition.
StepResult with_autograd(const Tensor& latents, const GuidedPrediction& prediction,
                         const StepCoefficients& coefficients, const MaybeTensor& previous_x0,
                         const MaybeTensor& noise) {
  check(latents, prediction, coefficients, previous_x0, noise);
  const auto wants = [](const MaybeTensor& tensor) { return tensor && tensor->requires_grad(); };
  if (at::GradMode::is_enabled() && (wants(latents) || wants(prediction.conditional) ||
                                     wants(prediction.unconditional) || wants(previous_x0) || wants(noise)))
    return reference::guided_step(latents, prediction, coefficients, previous_x0, noise);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return guided_step(latents, prediction, coefficients, previous_x0, noise);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def(
      "guided_step(Tensor latents, Tensor conditional, Tensor? unconditional, float guidance_scale, "
      "float[] coefficients, float? x0_clip, Tensor? previous_x0, Tensor? noise) -> (Tensor next, Tensor x0)");
}
TORCH_LIBRARY_IMPL(jointtuner, Autograd, m) { m.impl("guided_step", guided_step_kernel<with_autograd>); }

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const std::optional<Tensor>& previous_x0, const std::optional<Tensor>& noise) {
  static const auto op = handle<decltype(guided_step_kernel<with_autograd>)>("jointtuner::guided_step");
  auto [next, x0] = op.call(latents, prediction.conditional, prediction.unconditional, prediction.guidance_scale,
                            coefficient_list(coefficients), coefficients.x0_clip, previous_x0, noise);
  return {next, x0};
}

}  // namespace jointtuner::kernels
