#include "guided_step_steps.h"

#include <ATen/ops/empty_like.h>

#include <limits>

#include "guided_step.h"
#include "tensor_arguments.h"

namespace jointtuner::kernels::cuda {
namespace {

/// A tensor of a step in the latents' type; undefined if it is absent.
Tensor like(const std::optional<Tensor>& tensor, const Tensor& latents) {
  return tensor ? tensor->to(latents.scalar_type()).contiguous() : Tensor();
}

StepFactors factors_of(double guidance_scale, const StepCoefficients& c) {
  const auto f = [](double number) { return static_cast<float>(number); };
  return {f(guidance_scale),
          f(c.x0_from_latents),
          f(c.x0_from_prediction),
          f(c.x0_clip.value_or(std::numeric_limits<double>::infinity())),
          f(c.from_latents),
          f(c.from_prediction),
          f(c.from_x0),
          f(c.from_previous_x0),
          f(c.from_noise)};
}

}  // namespace

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const std::optional<Tensor>& previous_x0, const std::optional<Tensor>& noise,
                       cudaStream_t stream) {
  const Tensor x = latents.contiguous(), conditional = like(prediction.conditional, x),
               unconditional = like(prediction.unconditional, x), before = like(previous_x0, x), e = like(noise, x);
  const StepResult result{at::empty_like(x), at::empty_like(x)};
  for_type_of(x, "guided_step", [&]<class T>() {
    guided_step<T>({x.const_data_ptr<T>(), conditional.const_data_ptr<T>(), data_or_null<T>(unconditional),
                    data_or_null<T>(before), data_or_null<T>(e), result.next.mutable_data_ptr<T>(),
                    result.x0.mutable_data_ptr<T>(), x.numel(), factors_of(prediction.guidance_scale, coefficients)},
                   stream);
  });
  return result;
}

}  // namespace jointtuner::kernels::cuda
