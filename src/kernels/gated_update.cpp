#include "jointtuner/kernels/gated_update.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "accumulation.h"
#include "gated_update_arguments.h"
#include "handle.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<Tensor>;

[[noreturn]] void fail(const std::string& text) { throw Error("gated_update: " + text); }

void check(const Tensor& y, const Tensor& update, const MaybeTensor& gate, const DropoutMask& mask) {
  if (!y.is_floating_point() || y.dim() < 1 || y.sizes() != update.sizes() || y.scalar_type() != update.scalar_type())
    fail(fmt::format("expected y and update of one floating dtype and shape [*, M], found {} {} and {} {}",
                     c10::toString(y.scalar_type()), shape_text(y.sizes()), c10::toString(update.scalar_type()),
                     shape_text(update.sizes())));
  if (!y.is_contiguous()) fail(fmt::format("expected contiguous y, found strides {}", shape_text(y.strides())));
  dropout_threshold(mask.probability);
  if (!gate) return;
  const int64_t rows = y.size(-1) == 0 ? 0 : y.numel() / y.size(-1);
  if (gate->dim() != 1 || gate->size(0) < 1 || rows % gate->size(0) != 0)
    fail(fmt::format("expected gate [groups] with groups dividing {} rows, found {}", rows, shape_text(gate->sizes())));
  if (gate->scalar_type() != accumulation_dtype(y))
    fail(fmt::format("expected gate in {}, found {}", c10::toString(accumulation_dtype(y)),
                     c10::toString(gate->scalar_type())));
}

/// scale * g * Dropout(input): what flows back to the update.
Tensor masked(const Tensor& input, const MaybeTensor& gate, double scale, const DropoutMask& mask) {
  Tensor result = at::zeros_like(input, at::MemoryFormat::Contiguous);
  return gated_update(result, input, gate, scale, mask);
}

class GatedUpdate : public torch::autograd::Function<GatedUpdate> {
 public:
  static Tensor forward(AutogradContext* context, Tensor y, const Tensor& update, const MaybeTensor& gate, double scale,
                        const DropoutMask& mask) {
    {
      at::AutoDispatchBelowADInplaceOrView below_autograd;
      gated_update(y, update, gate, scale, mask);
    }
    context->mark_dirty({y});
    context->saved_data["scale"] = scale;
    context->saved_data["dropout"] = mask.probability;
    context->saved_data["dropout_seed"] = mask.seed;
    context->saved_data["site"] = mask.site;
    const bool wants_gate = gate && gate->requires_grad();
    context->save_for_backward({wants_gate ? update : Tensor(), gate.value_or(Tensor())});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    if (at::GradMode::is_enabled()) fail("differentiable once only: call backward without create_graph");
    auto& data = context->saved_data;
    const double scale = data["scale"].toDouble();
    const DropoutMask mask{data["dropout"].toDouble(), data["dropout_seed"].toInt(), data["site"].toInt()};
    const auto saved = context->get_saved_variables();
    const MaybeTensor gate = saved[1].defined() ? MaybeTensor(saved[1]) : std::nullopt;
    const Tensor grad = grad_outputs[0].contiguous();
    Tensor grad_gate;
    if (saved[0].defined()) {
      const auto dtype = accumulation_dtype(grad);
      const Tensor products = masked(grad.to(dtype), std::nullopt, scale, mask) * saved[0];
      grad_gate = products.reshape({gate->size(0), -1}).sum(1);
    }
    return {grad_outputs[0], masked(grad, gate, scale, mask), grad_gate, Tensor(), Tensor()};
  }
};

Tensor& with_autograd(Tensor& y, const Tensor& update, const MaybeTensor& gate, double scale, const DropoutMask& mask) {
  check(y, update, gate, mask);
  const bool record =
      at::GradMode::is_enabled() && (y.requires_grad() || update.requires_grad() || (gate && gate->requires_grad()));
  if (record) {
    y = GatedUpdate::apply(y, update, gate, scale, mask);
    return y;
  }
  {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    gated_update(y, update, gate, scale, mask);
  }
  y.unsafeGetTensorImpl()->bump_version();
  return y;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def(
      "gated_update(Tensor(a!) y, Tensor update, Tensor? gate, float scale, "
      "float dropout, int dropout_seed, int site) -> Tensor(a!)");
}
TORCH_LIBRARY_IMPL(jointtuner, Autograd, m) { m.impl("gated_update", gated_update_kernel<with_autograd>); }

Tensor& gated_update(Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                     const DropoutMask& mask) {
  static const auto op = handle<decltype(gated_update_kernel<with_autograd>)>("jointtuner::gated_update");
  return op.call(y, update, gate, scale, mask.probability, mask.seed, mask.site);
}

}  // namespace jointtuner::kernels
