#include "jointtuner/kernels/guided_step.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <cmath>
#include <tuple>

#include "guided_step_arguments.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/kernels/reference.h"

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
  for (const double number : {prediction.guidance_scale, c.x0_from_latents, c.x0_from_prediction, c.from_latents,
                              c.from_prediction, c.from_x0, c.from_previous_x0, c.from_noise}) {
    if (!std::isfinite(number)) fail("expected finite coefficients");
  }
  if (c.x0_clip && !(*c.x0_clip > 0)) fail(fmt::format("expected a clip above 0, found {}", *c.x0_clip));
  check_term(previous_x0, c.from_previous_x0, latents, "previous_x0");
  check_term(noise, c.from_noise, latents, "noise");
}

/// Sampling asks for no gradients; whoever does gets them from the composition.
std::tuple<Tensor, Tensor> with_autograd(const Tensor& latents, const Tensor& conditional,
                                         const MaybeTensor& unconditional, double guidance_scale,
                                         double x0_from_latents, double x0_from_prediction,
                                         std::optional<double> x0_clip, double from_latents, double from_prediction,
                                         double from_x0, const MaybeTensor& previous_x0, double from_previous_x0,
                                         const MaybeTensor& noise, double from_noise) {
  const StepCoefficients c{x0_from_latents, x0_from_prediction, x0_clip,   from_latents, from_prediction,
                           from_x0,         from_previous_x0,   from_noise};
  const GuidedPrediction prediction{conditional, unconditional, guidance_scale};
  check(latents, prediction, c, previous_x0, noise);
  const auto wants = [](const MaybeTensor& tensor) { return tensor && tensor->requires_grad(); };
  if (at::GradMode::is_enabled() &&
      (wants(latents) || wants(conditional) || wants(unconditional) || wants(previous_x0) || wants(noise))) {
    const StepResult result = reference::guided_step(latents, prediction, c, previous_x0, noise);
    return {result.next, result.x0};
  }
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return call_guided_step(latents, prediction, c, previous_x0, noise);
}

}  // namespace

std::tuple<Tensor, Tensor> call_guided_step(const Tensor& latents, const GuidedPrediction& p, const StepCoefficients& c,
                                            const MaybeTensor& previous_x0, const MaybeTensor& noise) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("jointtuner::guided_step", "").typed<decltype(with_autograd)>();
  return op.call(latents, p.conditional, p.unconditional, p.guidance_scale, c.x0_from_latents, c.x0_from_prediction,
                 c.x0_clip, c.from_latents, c.from_prediction, c.from_x0, previous_x0, c.from_previous_x0, noise,
                 c.from_noise);
}

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def(
      "guided_step(Tensor latents, Tensor conditional, Tensor? unconditional, float guidance_scale, float "
      "x0_from_latents, "
      "float x0_from_prediction, float? x0_clip, float from_latents, float from_prediction, float from_x0, Tensor? "
      "previous_x0, "
      "float from_previous_x0, Tensor? noise, float from_noise) -> (Tensor next, Tensor x0)");
}
TORCH_LIBRARY_IMPL(jointtuner, Autograd, m) { m.impl("guided_step", with_autograd); }

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const std::optional<Tensor>& previous_x0, const std::optional<Tensor>& noise) {
  auto [next, x0] = call_guided_step(latents, prediction, coefficients, previous_x0, noise);
  return {next, x0};
}

}  // namespace jointtuner::kernels
