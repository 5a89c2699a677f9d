#include "jointtuner/kernels/guided_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <torch/library.h>

#include "../accumulation.h"
#include "../guided_step_arguments.h"

namespace jointtuner::kernels::reference {

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& c,
                       const std::optional<Tensor>& previous_x0, const std::optional<Tensor>& noise) {
  const auto dtype = accumulation_dtype(latents);
  const Tensor x = latents.to(dtype);
  Tensor predicted = prediction.conditional.to(dtype);
  if (prediction.unconditional) {
    const Tensor unconditional = prediction.unconditional->to(dtype);
    predicted = unconditional + (predicted - unconditional) * prediction.guidance_scale;
  }
  Tensor x0 = x * c.x0_from_latents + predicted * c.x0_from_prediction;
  if (c.x0_clip) x0 = at::clamp(x0, -*c.x0_clip, *c.x0_clip);
  Tensor next = x * c.from_latents + predicted * c.from_prediction + x0 * c.from_x0;
  if (previous_x0) next = next + previous_x0->to(dtype) * c.from_previous_x0;
  if (noise) next = next + noise->to(dtype) * c.from_noise;
  return {next.to(latents.scalar_type()), x0.to(latents.scalar_type())};
}

TORCH_LIBRARY_IMPL(jointtuner, CompositeExplicitAutograd, m) { m.impl("guided_step", guided_step_kernel<guided_step>); }

}  // namespace jointtuner::kernels::reference
