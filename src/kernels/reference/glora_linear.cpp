#include "jointtuner/kernels/glora_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>

#include "../accumulation.h"
#include "../glora_parts.h"
#include "jointtuner/kernels/gated_update.h"

namespace jointtuner::kernels {

/// One statement an operation: C++ leaves the order of operands open, and autograd sums gradients in order of creation.
Tensor reference::glora_linear(const Tensor& x, const FrozenLinear& frozen, const GloraAdapter& adapter,
                               const GloraOptions& how) {
  const Tensor y = at::linear(x, frozen.weight, frozen.bias);
  const Tensor hidden = at::linear(x, adapter.down.to(x.scalar_type()));
  Tensor update = at::linear(hidden, adapter.up.to(x.scalar_type()));
  if (how.dropout.probability > 0) update = update * dropout_factors(update, how.dropout);
  if (adapter.gate) {
    const Tensor logits = at::linear(x, adapter.gate->to(x.scalar_type())).to(accumulation_dtype(x));
    const Tensor gate = at::sigmoid(logits).reshape({how.groups, -1}).mean(1);
    update =
        update.reshape({how.groups, -1, frozen.weight.size(0)}) * gate.to(x.scalar_type()).view({how.groups, 1, 1});
    update = update.reshape(y.sizes());
  }
  return y + update * how.scale;
}

namespace composed {

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  const Tensor gate = at::sigmoid(logits.to(accumulation_dtype(logits))).view({groups, -1}).mean(1);
  hidden.view({groups, -1, hidden.size(1)}).mul_(gate.view({groups, 1, 1}));
  return gate;
}

void gate_hidden_backward(const parts::GateHiddenBackward& step) {
  const Tensor& gate = step.gate;
  const int64_t groups = gate.size(0), tokens = step.hidden.size(0) / groups, rank = step.hidden.size(1);
  const Tensor grad_hidden = step.gradient.narrow(1, 0, rank).unflatten(0, {groups, tokens});
  const Tensor products = grad_hidden * step.hidden.view({groups, tokens, rank});
  // A gate that underflowed to 0 has no slope either: s (1 - s) is 0 for each of its tokens.
  const Tensor grad_gate =
      at::where(gate == 0, at::zeros({}, gate.options()), products.sum({1, 2}) * step.scale / gate);
  const Tensor sigmoid = at::sigmoid(step.logits.to(gate.scalar_type())).view({groups, tokens});
  const Tensor slope = sigmoid * (1 - sigmoid);
  step.gradient.select(1, rank).copy_((slope * (grad_gate / tokens).unsqueeze(1)).flatten());
  grad_hidden.mul_((gate * step.scale).view({groups, 1, 1}));
}

void low_rank_update(const parts::LowRankUpdate& step) {
  Tensor y = step.y;
  const Tensor up_transposed = step.up.to(y.scalar_type()).t();
  if (step.mask.probability == 0)
    y.addmm_(step.hidden, up_transposed, /*beta=*/1, /*alpha=*/step.scale);
  else
    gated_update(y, at::mm(step.hidden, up_transposed), std::nullopt, step.scale, step.mask);
}

void low_rank_backward(const parts::LowRankBackward& step) {
  const Tensor kept =
      step.mask.probability == 0 ? step.grad_y : step.grad_y * reference::dropout_factors(step.grad_y, step.mask);
  if (kept.scalar_type() == step.grad_hidden.scalar_type()) {
    Tensor out = step.grad_hidden;
    at::mm_out(out, kept, step.up);
  } else {
    step.grad_hidden.copy_(at::mm(kept, step.up.to(kept.scalar_type())));
  }
  step.grad_up.copy_(accumulated_product(kept, step.hidden));
  if (step.scale != 1) step.grad_up.mul_(step.scale);
}

Tensor accumulated_product(const Tensor& left, const Tensor& right) {
  const auto dtype = accumulation_dtype(right);
  if (left.scalar_type() == dtype && right.scalar_type() == dtype) return at::mm(left.t(), right);
  constexpr int64_t kBlock = 2048;
  Tensor sum = at::zeros({left.size(1), right.size(1)}, right.options().dtype(dtype));
  for (int64_t start = 0; start < right.size(0); start += kBlock) {
    const int64_t length = std::min(kBlock, right.size(0) - start);
    sum.addmm_(left.narrow(0, start, length).to(dtype).t(), right.narrow(0, start, length).to(dtype));
  }
  return sum;
}

TORCH_LIBRARY_IMPL(jointtuner, CompositeExplicitAutograd, m) {
  m.impl("_gate_hidden", gate_hidden);
  m.impl("_gate_hidden_backward", parts::gate_hidden_backward_kernel<gate_hidden_backward>);
  m.impl("_low_rank_update", parts::low_rank_update_kernel<low_rank_update>);
  m.impl("_low_rank_backward", parts::low_rank_backward_kernel<low_rank_backward>);
}

}  // namespace composed
}  // namespace jointtuner::kernels
