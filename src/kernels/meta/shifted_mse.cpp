#include "jointtuner/kernels/shifted_mse.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../accumulation.h"

namespace jointtuner::kernels::meta {
namespace {

Tensor shifted_mse(const Tensor& prediction, const Tensor&, const std::optional<Tensor>&, double, bool per_item) {
  const auto options = prediction.options().dtype(accumulation_dtype(prediction));
  return per_item ? at::empty({prediction.size(0)}, options) : at::empty({}, options);
}

Tensor shifted_mse_backward(const Tensor&, const Tensor& prediction, const Tensor&, const std::optional<Tensor>&,
                            double) {
  return at::empty(prediction.sizes(), prediction.options());
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, Meta, m) {
  m.impl("shifted_mse", shifted_mse);
  m.impl("_shifted_mse_backward", shifted_mse_backward);
}

}  // namespace jointtuner::kernels::meta
