#include "jointtuner/kernels/glora_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "glora_parts.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/kernels/gate_meter.h"

namespace jointtuner::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<Tensor>;

/// The arguments that are not differentiated.
struct Frozen {
  Tensor weight;
  MaybeTensor bias;
  double scale;
  int64_t groups;
  DropoutMask mask;
};

struct Forward {
  Tensor y;
  Tensor hidden;  ///< gated, [T, R], x's dtype; undefined when scale is 0
  Tensor logits;  ///< [T], x's dtype; undefined when ungated
  Tensor gate;    ///< [groups]; undefined when ungated
};

[[noreturn]] void fail(const std::string& text) { throw Error("glora_linear: " + text); }

void check_matrix(const Tensor& tensor, int64_t rows, int64_t columns, const char* name) {
  if (tensor.dim() != 2 || tensor.size(0) != rows || tensor.size(1) != columns)
    fail(fmt::format("expected {} of shape [{}, {}], found {}", name, rows, columns, shape_text(tensor.sizes())));
}

void check_adapter(const Tensor& tensor, const Tensor& x, const char* name) {
  if (tensor.scalar_type() != at::kFloat && tensor.scalar_type() != x.scalar_type())
    fail(fmt::format("expected {} in float32 or x's {}, found {}", name, c10::toString(x.scalar_type()),
                     c10::toString(tensor.scalar_type())));
  if (tensor.device() != x.device())
    fail(fmt::format("expected {} on x's device {}, found {}", name, x.device().str(), tensor.device().str()));
}

void check(const Tensor& x, const Frozen& frozen, const Tensor& down, const Tensor& up, const MaybeTensor& gate) {
  if (x.dim() < 2 || !x.is_floating_point())
    fail(fmt::format("expected floating x of shape [*, N, K], found {} {}", c10::toString(x.scalar_type()),
                     shape_text(x.sizes())));
  if (frozen.weight.dim() != 2 || frozen.weight.size(1) != x.size(-1) ||
      frozen.weight.scalar_type() != x.scalar_type()) {
    fail(fmt::format("expected weight of shape [M, {}] in x's {}, found {} in {}", x.size(-1),
                     c10::toString(x.scalar_type()), shape_text(frozen.weight.sizes()),
                     c10::toString(frozen.weight.scalar_type())));
  }
  const int64_t rank = down.dim() == 2 ? down.size(0) : -1;
  check_matrix(down, rank, x.size(-1), "lora_down");
  check_matrix(up, frozen.weight.size(0), rank, "lora_up");
  check_adapter(down, x, "lora_down");
  check_adapter(up, x, "lora_up");
  if (gate) {
    check_matrix(*gate, 1, x.size(-1), "lora_gate");
    check_adapter(*gate, x, "lora_gate");
  }
  if (frozen.groups < 1 || x.size(0) % frozen.groups != 0)
    fail(fmt::format("expected pooling groups that divide x's first dimension, found {} groups for x {}", frozen.groups,
                     shape_text(x.sizes())));
  dropout_threshold(frozen.mask.probability);
}

Tensor rows(const Tensor& x) { return x.reshape({-1, x.size(-1)}).contiguous(); }

Forward forward_steps(const Tensor& x, const Frozen& frozen, const Tensor& down, const Tensor& up,
                      const MaybeTensor& gate) {
  Forward result;
  result.y = at::linear(x, frozen.weight, frozen.bias);
  if (frozen.scale == 0 || x.numel() == 0) return result;
  const Tensor tokens = rows(x);
  result.hidden = at::mm(tokens, down.to(x.scalar_type()).t());
  if (gate) {
    // A matrix-vector product of its own: one product with [D; G] and R + 1 columns takes a quarter longer than R
    // columns and this.
    result.logits = at::mv(tokens, gate->to(x.scalar_type()).view({-1}));
    result.gate = parts::gate_hidden(result.hidden, result.logits, frozen.groups);
    GateMeter::see(result.gate);
  }
  const Tensor y_rows = result.y.is_contiguous() ? result.y.view({-1, result.y.size(-1)}) : rows(result.y);
  parts::low_rank_update(y_rows, result.hidden, up, frozen.scale, frozen.mask);
  result.y = y_rows.view(result.y.sizes());
  return result;
}

struct Gradients {
  Tensor x, down, up, gate;
};

/// dL/d hidden and dL/d logits beside each other: P [T, R (+ 1 when gated)] in the accumulation dtype; dL/d up on the
/// way.
Tensor hidden_gradient(const Tensor& grad_rows, const Forward& saved, const Tensor& up, const Frozen& frozen,
                       Tensor& grad_up) {
  const auto options = up.options().dtype(accumulation_dtype(grad_rows));
  const int64_t rank = up.size(1);
  const Tensor gradient = at::empty({grad_rows.size(0), rank + (saved.gate.defined() ? 1 : 0)}, options);
  grad_up = at::empty(up.sizes(), options);
  parts::low_rank_backward(grad_rows, saved.hidden, up, gradient.narrow(1, 0, rank), grad_up, frozen.scale,
                           frozen.mask);
  if (saved.gate.defined())
    parts::gate_hidden_backward(gradient, saved.hidden, saved.logits, saved.gate, frozen.scale);
  else if (frozen.scale != 1)
    gradient.mul_(frozen.scale);
  return gradient;
}

Gradients backward_steps(const Tensor& grad_y, const Tensor& x, const Forward& saved, const Frozen& frozen,
                         const Tensor& down, const Tensor& up, const MaybeTensor& gate, bool wants_x) {
  Gradients grads;
  const Tensor grad_rows = rows(grad_y);
  if (wants_x) grads.x = at::mm(grad_rows, frozen.weight);
  if (!saved.hidden.defined()) {
    grads.down = at::zeros_like(down);
    grads.up = at::zeros_like(up);
    if (gate) grads.gate = at::zeros_like(*gate);
  } else {
    const Tensor gradient = hidden_gradient(grad_rows, saved, up, frozen, grads.up);
    if (wants_x) {
      const Tensor joined = gate ? at::cat({down, *gate}) : down;
      grads.x.addmm_(gradient.to(x.scalar_type()), joined.to(x.scalar_type()));
    }
    const Tensor both = composed::accumulated_product(gradient, rows(x)).to(down.scalar_type());
    grads.down = gate ? both.narrow(0, 0, down.size(0)) : both;
    if (gate) grads.gate = both.narrow(0, down.size(0), 1);
    grads.up = grads.up.to(up.scalar_type());
  }
  if (wants_x) grads.x = grads.x.view(x.sizes());
  return grads;
}

class GloraLinear : public torch::autograd::Function<GloraLinear> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& down, const Tensor& up,
                        const MaybeTensor& gate, const Frozen& frozen) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    Forward result = forward_steps(x, frozen, down, up, gate);
    context->saved_data["wants_x"] = x.requires_grad();
    context->saved_data["scale"] = frozen.scale;
    context->saved_data["groups"] = frozen.groups;
    context->saved_data["dropout"] = frozen.mask.probability;
    context->saved_data["dropout_seed"] = frozen.mask.seed;
    context->saved_data["site"] = frozen.mask.site;
    context->save_for_backward(
        {x, down, up, gate.value_or(Tensor()), frozen.weight, result.hidden, result.logits, result.gate});
    return result.y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    if (at::GradMode::is_enabled()) fail("differentiable once only: call backward without create_graph");
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const Frozen frozen{saved[4], std::nullopt, data["scale"].toDouble(), data["groups"].toInt(),
                        DropoutMask{data["dropout"].toDouble(), data["dropout_seed"].toInt(), data["site"].toInt()}};
    const MaybeTensor gate = saved[3].defined() ? MaybeTensor(saved[3]) : std::nullopt;
    const Forward forward{Tensor(), saved[5], saved[6], saved[7]};
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const Gradients grads =
        backward_steps(grad_outputs[0], saved[0], forward, frozen, saved[1], saved[2], gate, data["wants_x"].toBool());
    return {grads.x, grads.down, grads.up, grads.gate, Tensor()};
  }
};

bool wants_gradient(const MaybeTensor& tensor) { return tensor && tensor->requires_grad(); }

Tensor with_autograd(const Tensor& x, const Tensor& weight, const MaybeTensor& bias, const Tensor& lora_down,
                     const Tensor& lora_up, const MaybeTensor& lora_gate, double scale, int64_t groups, double dropout,
                     int64_t dropout_seed, int64_t site) {
  const Frozen frozen{weight, bias, scale, groups, {dropout, dropout_seed, site}};
  check(x, frozen, lora_down, lora_up, lora_gate);
  const bool record = at::GradMode::is_enabled() && (x.requires_grad() || lora_down.requires_grad() ||
                                                     lora_up.requires_grad() || wants_gradient(lora_gate));
  if (record) return GloraLinear::apply(x, lora_down, lora_up, lora_gate, frozen);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return forward_steps(x, frozen, lora_down, lora_up, lora_gate).y;
}

/// Reached without the autograd keys, as in InferenceMode.
Tensor without_autograd(const Tensor& x, const Tensor& weight, const MaybeTensor& bias, const Tensor& lora_down,
                        const Tensor& lora_up, const MaybeTensor& lora_gate, double scale, int64_t groups,
                        double dropout, int64_t dropout_seed, int64_t site) {
  const Frozen frozen{weight, bias, scale, groups, {dropout, dropout_seed, site}};
  check(x, frozen, lora_down, lora_up, lora_gate);
  return forward_steps(x, frozen, lora_down, lora_up, lora_gate).y;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def(
      "glora_linear(Tensor x, Tensor weight, Tensor? bias, Tensor lora_down, Tensor lora_up, Tensor? lora_gate, float "
      "scale, "
      "int groups, float dropout, int dropout_seed, int site) -> Tensor");
}
TORCH_LIBRARY_IMPL(jointtuner, Autograd, m) { m.impl("glora_linear", with_autograd); }
TORCH_LIBRARY_IMPL(jointtuner, CompositeExplicitAutograd, m) { m.impl("glora_linear", without_autograd); }

Tensor glora_linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const Tensor& lora_down,
                    const Tensor& lora_up, const std::optional<Tensor>& lora_gate, double scale, int64_t groups,
                    double dropout, int64_t dropout_seed, int64_t site) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("jointtuner::glora_linear", "").typed<decltype(with_autograd)>();
  return op.call(x, weight, bias, lora_down, lora_up, lora_gate, scale, groups, dropout, dropout_seed, site);
}

}  // namespace jointtuner::kernels
