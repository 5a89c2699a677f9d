#include "jointtuner/kernels/shifted_mse.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "handle.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<Tensor>;

[[noreturn]] void fail(const std::string& text) { throw Error("shifted_mse: " + text); }

void check(const Tensor& prediction, const Tensor& target, const MaybeTensor& shift) {
  if (prediction.dim() != 5 || prediction.numel() == 0 || prediction.sizes() != target.sizes())
    fail(fmt::format("expected prediction and target of one shape [B, C, F, H, W], found {} and {}",
                     shape_text(prediction.sizes()), shape_text(target.sizes())));
  if (!prediction.is_floating_point() || !target.is_floating_point() || (shift && !shift->is_floating_point()))
    fail("expected floating prediction, target and shift");
  if (shift)
    check_shape(*shift, {prediction.size(0), 1, 1, prediction.size(3), prediction.size(4)},
                "shifted_mse: prediction shift");
}

Tensor call(const Tensor& prediction, const Tensor& target, const MaybeTensor& shift, double strength, bool per_item) {
  static const auto op = handle<decltype(call)>("jointtuner::shifted_mse");
  return op.call(prediction, target, shift, strength, per_item);
}

class ShiftedMse : public torch::autograd::Function<ShiftedMse> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& prediction, const Tensor& target,
                        const MaybeTensor& shift, double strength, bool per_item) {
    context->saved_data["strength"] = strength;
    context->save_for_backward({prediction, target, shift.value_or(Tensor())});
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    return call(prediction, target, shift, strength, per_item);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    if (at::GradMode::is_enabled()) fail("differentiable once only: call backward without create_graph");
    static const auto op = handle<decltype(reference::shifted_mse_backward)>("jointtuner::_shifted_mse_backward");
    const auto saved = context->get_saved_variables();
    const MaybeTensor shift = saved[2].defined() ? MaybeTensor(saved[2]) : std::nullopt;
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const Tensor grad = op.call(grad_outputs[0], saved[0], saved[1], shift, context->saved_data["strength"].toDouble());
    return {grad, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

Tensor with_autograd(const Tensor& prediction, const Tensor& target, const MaybeTensor& shift, double strength,
                     bool per_item) {
  check(prediction, target, shift);
  if (target.requires_grad() || (shift && shift->requires_grad()))
    fail("differentiable in prediction only, but target or shift asks for a gradient: detach it");
  if (at::GradMode::is_enabled() && prediction.requires_grad())
    return ShiftedMse::apply(prediction, target, shift, strength, per_item);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return call(prediction, target, shift, strength, per_item);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def("shifted_mse(Tensor prediction, Tensor target, Tensor? shift, float strength, bool per_item=False) -> Tensor");
  // grad_loss [] or [B]; returns grad_loss * 2 (prediction + strength * shift - target) / count, like prediction.
  m.def(
      "_shifted_mse_backward(Tensor grad_loss, Tensor prediction, Tensor target, Tensor? shift, float strength) "
      "-> Tensor");
}
TORCH_LIBRARY_IMPL(jointtuner, Autograd, m) { m.impl("shifted_mse", with_autograd); }

Tensor shifted_mse(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift, double strength,
                   LossReduction reduction) {
  return call(prediction, target, shift, strength, reduction == LossReduction::per_item);
}

}  // namespace jointtuner::kernels
