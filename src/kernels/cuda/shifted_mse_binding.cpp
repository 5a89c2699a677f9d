#include <torch/library.h>

#include "binding.h"
#include "jointtuner/kernels/shifted_mse.h"
#include "shifted_mse_steps.h"

namespace jointtuner::kernels::cuda {
namespace {

Tensor shifted_mse_binding(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift,
                           double strength, bool per_item) {
  if (is_double(prediction))
    return reference::shifted_mse(prediction, target, shift, strength,
                                  per_item ? LossReduction::per_item : LossReduction::mean);
  const CUDAGuard guard(prediction.device());
  return shifted_mse({prediction, target, shift, strength}, per_item, current_stream());
}

Tensor shifted_mse_backward_binding(const Tensor& grad_loss, const Tensor& prediction, const Tensor& target,
                                    const std::optional<Tensor>& shift, double strength) {
  if (is_double(prediction)) return reference::shifted_mse_backward(grad_loss, prediction, target, shift, strength);
  const CUDAGuard guard(prediction.device());
  return shifted_mse_backward(grad_loss, {prediction, target, shift, strength}, current_stream());
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CUDA, m) {
  m.impl("shifted_mse", shifted_mse_binding);
  m.impl("_shifted_mse_backward", shifted_mse_backward_binding);
}

}  // namespace jointtuner::kernels::cuda
