#include <torch/library.h>

#include "../gated_update_arguments.h"
#include "binding.h"
#include "gated_update_steps.h"

namespace jointtuner::kernels::cuda {
namespace {

Tensor& gated_update_binding(Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                             const DropoutMask& mask) {
  if (is_double(y)) return y.copy_(reference::gated_update(y, update, gate, scale, mask));
  const CUDAGuard guard(y.device());
  gated_update(y, update, gate, scale, mask, current_stream());
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CUDA, m) { m.impl("gated_update", gated_update_kernel<gated_update_binding>); }

}  // namespace jointtuner::kernels::cuda
