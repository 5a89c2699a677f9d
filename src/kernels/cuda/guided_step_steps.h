// guided_step between ATen and the launcher, for float32, float16 and bfloat16 on a given stream. Apart from the
// binding so that tests can run it without a GPU. The arguments are the operator's, and have passed its checks.
#pragma once
#include <optional>

#include "device/stream.h"
#include "jointtuner/kernels/guided_step.h"

namespace jointtuner::kernels::cuda {

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const std::optional<Tensor>& previous_x0, const std::optional<Tensor>& noise,
                       cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
