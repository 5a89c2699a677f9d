#include "jointtuner/kernels/glora_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "accumulation.h"
#include "glora_parts.h"
#include "handle.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/kernels/gate_meter.h"

namespace jointtuner::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<Tensor>;

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

void check(const Tensor& x, const FrozenLinear& frozen, const GloraAdapter& adapter, const GloraOptions& how) {
  if (x.dim() < 2 || !x.is_floating_point())
    fail(fmt::format("expected floating x of shape [*, N, K], found {} {}", c10::toString(x.scalar_type()),
                     shape_text(x.sizes())));
  const Tensor& weight = frozen.weight;
  if (weight.dim() != 2 || weight.size(1) != x.size(-1) || weight.scalar_type() != x.scalar_type())
    fail(fmt::format("expected weight of shape [M, {}] in x's {}, found {} in {}", x.size(-1),
                     c10::toString(x.scalar_type()), shape_text(weight.sizes()), c10::toString(weight.scalar_type())));
  const int64_t rank = adapter.down.dim() == 2 ? adapter.down.size(0) : -1;
  check_matrix(adapter.down, rank, x.size(-1), "lora_down");
  check_matrix(adapter.up, weight.size(0), rank, "lora_up");
  check_adapter(adapter.down, x, "lora_down");
  check_adapter(adapter.up, x, "lora_up");
  if (adapter.gate) {
    check_matrix(*adapter.gate, 1, x.size(-1), "lora_gate");
    check_adapter(*adapter.gate, x, "lora_gate");
  }
  if (how.groups < 1 || x.size(0) % how.groups != 0)
    fail(fmt::format("expected pooling groups that divide x's first dimension, found {} groups for x {}", how.groups,
                     shape_text(x.sizes())));
  dropout_threshold(how.dropout.probability);
}

Tensor rows(const Tensor& x) { return x.reshape({-1, x.size(-1)}).contiguous(); }

Forward forward_steps(const Tensor& x, const FrozenLinear& frozen, const GloraAdapter& adapter,
                      const GloraOptions& how) {
  Forward result;
  result.y = at::linear(x, frozen.weight, frozen.bias);
  if (how.scale == 0 || x.numel() == 0) return result;
  const Tensor tokens = rows(x);
  result.hidden = at::mm(tokens, adapter.down.to(x.scalar_type()).t());
  if (adapter.gate) {
    // A matrix-vector product of its own: one product with [D; G] and R + 1 columns takes a quarter longer than R
    // columns and this.
    result.logits = at::mv(tokens, adapter.gate->to(x.scalar_type()).view({-1}));
    result.gate = parts::gate_hidden(result.hidden, result.logits, how.groups);
    GateMeter::see(result.gate);
  }
  const Tensor y_rows = result.y.is_contiguous() ? result.y.view({-1, result.y.size(-1)}) : rows(result.y);
  parts::low_rank_update({y_rows, result.hidden, adapter.up, how.scale, how.dropout});
  result.y = y_rows.view(result.y.sizes());
  return result;
}

struct Gradients {
  Tensor x, down, up, gate;
};

/// dL/d hidden and dL/d logits beside each other: P [T, R (+ 1 when gated)] in the accumulation dtype; dL/d up on the
/// way.
Tensor hidden_gradient(const Tensor& grad_rows, const Forward& saved, const Tensor& up, const GloraOptions& how,
                       Tensor& grad_up) {
  const auto options = up.options().dtype(accumulation_dtype(grad_rows));
  const int64_t rank = up.size(1);
  const Tensor gradient = at::empty({grad_rows.size(0), rank + (saved.gate.defined() ? 1 : 0)}, options);
  grad_up = at::empty(up.sizes(), options);
  parts::low_rank_backward({grad_rows, saved.hidden, up, gradient.narrow(1, 0, rank), grad_up, how.scale, how.dropout});
  if (saved.gate.defined())
    parts::gate_hidden_backward({gradient, saved.hidden, saved.logits, saved.gate, how.scale});
  else if (how.scale != 1)
    gradient.mul_(how.scale);
  return gradient;
}

Gradients backward_steps(const Tensor& grad_y, const Tensor& x, const Forward& saved, const FrozenLinear& frozen,
                         const GloraAdapter& adapter, const GloraOptions& how, bool wants_x) {
  Gradients grads;
  const Tensor grad_rows = rows(grad_y);
  if (wants_x) grads.x = at::mm(grad_rows, frozen.weight);
  const auto& [down, up, gate] = adapter;
  if (!saved.hidden.defined()) {
    grads.down = at::zeros_like(down);
    grads.up = at::zeros_like(up);
    if (gate) grads.gate = at::zeros_like(*gate);
  } else {
    const Tensor gradient = hidden_gradient(grad_rows, saved, up, how, grads.up);
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
  /// The adapter's tensors are arguments of their own: autograd finds none within a struct.
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& down, const Tensor& up,
                        const MaybeTensor& gate, const FrozenLinear& frozen, const GloraOptions& how) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const Forward result = forward_steps(x, frozen, {down, up, gate}, how);
    context->saved_data["wants_x"] = x.requires_grad();
    context->saved_data["scale"] = how.scale;
    context->saved_data["groups"] = how.groups;
    context->saved_data["dropout"] = how.dropout.probability;
    context->saved_data["dropout_seed"] = how.dropout.seed;
    context->saved_data["site"] = how.dropout.site;
    context->save_for_backward(
        {x, down, up, gate.value_or(Tensor()), frozen.weight, result.hidden, result.logits, result.gate});
    return result.y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    if (at::GradMode::is_enabled()) fail("differentiable once only: call backward without create_graph");
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const GloraOptions how{data["scale"].toDouble(),
                           data["groups"].toInt(),
                           {data["dropout"].toDouble(), data["dropout_seed"].toInt(), data["site"].toInt()}};
    const GloraAdapter adapter{saved[1], saved[2], saved[3].defined() ? MaybeTensor(saved[3]) : std::nullopt};
    const Forward forward{Tensor(), saved[5], saved[6], saved[7]};
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const Gradients grads =
        backward_steps(grad_outputs[0], saved[0], forward, {saved[4]}, adapter, how, data["wants_x"].toBool());
    return {grads.x, grads.down, grads.up, grads.gate, Tensor(), Tensor()};
  }
};

Tensor with_autograd(const Tensor& x, const FrozenLinear& frozen, const GloraAdapter& adapter,
                     const GloraOptions& how) {
  check(x, frozen, adapter, how);
  const auto& [down, up, gate] = adapter;
  const bool record = at::GradMode::is_enabled() && (x.requires_grad() || down.requires_grad() || up.requires_grad() ||
                                                     (gate && gate->requires_grad()));
  if (record) return GloraLinear::apply(x, down, up, gate, frozen, how);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return forward_steps(x, frozen, adapter, how).y;
}

/// Reached without the autograd keys, as in InferenceMode.
Tensor without_autograd(const Tensor& x, const FrozenLinear& frozen, const GloraAdapter& adapter,
                        const GloraOptions& how) {
  check(x, frozen, adapter, how);
  return forward_steps(x, frozen, adapter, how).y;
}

/// A kernel with the operator's flat arguments that calls `run` in place of it.
template <decltype(with_autograd) run>
Tensor kernel(const Tensor& x, const Tensor& weight, const MaybeTensor& bias, const Tensor& lora_down,
              const Tensor& lora_up, const MaybeTensor& lora_gate, double scale, int64_t groups, double dropout,
              int64_t dropout_seed, int64_t site) {
  return run(x, {weight, bias}, {lora_down, lora_up, lora_gate}, {scale, groups, {dropout, dropout_seed, site}});
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def(
      "glora_linear(Tensor x, Tensor weight, Tensor? bias, Tensor lora_down, Tensor lora_up, Tensor? lora_gate, "
      "float scale, int groups, float dropout, int dropout_seed, int site) -> Tensor");
}
TORCH_LIBRARY_IMPL(jointtuner, Autograd, m) { m.impl("glora_linear", kernel<with_autograd>); }
TORCH_LIBRARY_IMPL(jointtuner, CompositeExplicitAutograd, m) { m.impl("glora_linear", kernel<without_autograd>); }

Tensor glora_linear(const Tensor& x, const FrozenLinear& frozen, const GloraAdapter& adapter, const GloraOptions& how) {
  static const auto op = handle<decltype(kernel<with_autograd>)>("jointtuner::glora_linear");
  return op.call(x, frozen.weight, frozen.bias, adapter.down, adapter.up, adapter.gate, how.scale, how.groups,
                 how.dropout.probability, how.dropout.seed, how.dropout.site);
}

}  // namespace jointtuner::kernels
