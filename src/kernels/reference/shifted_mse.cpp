#include "jointtuner/kernels/shifted_mse.h"

#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include "../accumulation.h"

namespace jointtuner::kernels::reference {
namespace {

Tensor residual(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift, double strength) {
  const auto dtype = accumulation_dtype(prediction);
  const Tensor difference = prediction.to(dtype) - target.to(dtype);
  return shift ? difference + shift->to(dtype) * strength : difference;
}

Tensor loss(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift, double strength,
            bool per_item) {
  const Tensor squares = residual(prediction, target, shift, strength).square();
  return per_item ? squares.mean({1, 2, 3, 4}) : squares.mean();
}

}  // namespace

Tensor shifted_mse(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift, double strength,
                   LossReduction reduction) {
  return loss(prediction, target, shift, strength, reduction == LossReduction::per_item);
}

Tensor shifted_mse_backward(const Tensor& grad_loss, const Tensor& prediction, const Tensor& target,
                            const std::optional<Tensor>& shift, double strength) {
  const int64_t items = prediction.size(0);
  const int64_t averaged = grad_loss.dim() == 0 ? prediction.numel() : prediction.numel() / items;
  const Tensor factor = (grad_loss * (2.0 / static_cast<double>(averaged))).reshape({-1, 1, 1, 1, 1});
  return (residual(prediction, target, shift, strength) * factor).to(prediction.scalar_type());
}

TORCH_LIBRARY_IMPL(jointtuner, CompositeExplicitAutograd, m) {
  m.impl("shifted_mse", loss);
  m.impl("_shifted_mse_backward", shifted_mse_backward);
}

}  // namespace jointtuner::kernels::reference
