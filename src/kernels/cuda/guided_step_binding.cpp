#include <torch/library.h>

#include "../guided_step_arguments.h"
#include "binding.h"
#include "guided_step_steps.h"

namespace jointtuner::kernels::cuda {
namespace {

StepResult guided_step_binding(const Tensor& latents, const GuidedPrediction& prediction,
                               const StepCoefficients& coefficients, const std::optional<Tensor>& previous_x0,
                               const std::optional<Tensor>& noise) {
  if (is_double(latents)) return reference::guided_step(latents, prediction, coefficients, previous_x0, noise);
  const CUDAGuard guard(latents.device());
  return guided_step(latents, prediction, coefficients, previous_x0, noise, current_stream());
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CUDA, m) { m.impl("guided_step", guided_step_kernel<guided_step_binding>); }

}  // namespace jointtuner::kernels::cuda
