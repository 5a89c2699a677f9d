#include "jointtuner/kernels/guided_step.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../guided_step_arguments.h"

namespace jointtuner::kernels::meta {
namespace {

StepResult guided_step(const Tensor& latents, const GuidedPrediction&, const StepCoefficients&,
                       const std::optional<Tensor>&, const std::optional<Tensor>&) {
  return {at::empty(latents.sizes(), latents.options()), at::empty(latents.sizes(), latents.options())};
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, Meta, m) { m.impl("guided_step", guided_step_kernel<guided_step>); }

}  // namespace jointtuner::kernels::meta
