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

#include "../glora_parts.h"
#include "jointtuner/kernels/gated_update.h"
#include "jointtuner/kernels/reference.h"

namespace jointtuner::kernels {

/// One statement an operation: C++ leaves the order of operands open, and autograd sums gradients in order of creation.
Tensor reference::glora_linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                               const Tensor& lora_down, const Tensor& lora_up, const std::optional<Tensor>& lora_gate,
                               double scale, int64_t groups, double dropout, int64_t dropout_seed, int64_t site) {
  const Tensor y = at::linear(x, weight, bias);
  const Tensor hidden = at::linear(x, lora_down.to(x.scalar_type()));
  Tensor update = at::linear(hidden, lora_up.to(x.scalar_type()));
  if (dropout > 0) update = update * reference::dropout_factors(update, {dropout, dropout_seed, site});
  if (lora_gate) {
    const Tensor logits = at::linear(x, lora_gate->to(x.scalar_type())).to(accumulation_dtype(x));
    const Tensor gate = at::sigmoid(logits).reshape({groups, -1}).mean(1);
    update = update.reshape({groups, -1, weight.size(0)}) * gate.to(x.scalar_type()).view({groups, 1, 1});
    update = update.reshape(y.sizes());
  }
  return y + update * scale;
}

namespace composed {

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  const Tensor gate = at::sigmoid(logits.to(accumulation_dtype(logits))).view({groups, -1}).mean(1);
  hidden.view({groups, -1, hidden.size(1)}).mul_(gate.view({groups, 1, 1}));
  return gate;
}

void gate_hidden_backward(const Tensor& gradient, const Tensor& hidden, const Tensor& logits, const Tensor& gate,
                          double scale) {
  const int64_t groups = gate.size(0), tokens = hidden.size(0) / groups, rank = hidden.size(1);
  const Tensor grad_hidden = gradient.narrow(1, 0, rank).unflatten(0, {groups, tokens});
  const Tensor products = grad_hidden * hidden.view({groups, tokens, rank});
  // A gate that underflowed to 0 has no slope either: s (1 - s) is 0 for each of its tokens.
  const Tensor grad_gate = at::where(gate == 0, at::zeros({}, gate.options()), products.sum({1, 2}) * scale / gate);
  const Tensor sigmoid = at::sigmoid(logits.to(gate.scalar_type())).view({groups, tokens});
  const Tensor slope = sigmoid * (1 - sigmoid);
  gradient.select(1, rank).copy_((slope * (grad_gate / tokens).unsqueeze(1)).flatten());
  grad_hidden.mul_((gate * scale).view({groups, 1, 1}));
}

void low_rank_update(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, const DropoutMask& mask) {
  const Tensor up_transposed = up.to(y.scalar_type()).t();
  if (mask.probability == 0) {
    y.addmm_(hidden, up_transposed, /*beta=*/1, /*alpha=*/scale);
    return;
  }
  Tensor output = y;
  gated_update(output, at::mm(hidden, up_transposed), std::nullopt, scale, mask);
}

void low_rank_backward(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                       const Tensor& grad_up, double scale, const DropoutMask& mask) {
  const Tensor kept = mask.probability == 0 ? grad_y : grad_y * reference::dropout_factors(grad_y, mask);
  if (kept.scalar_type() == grad_hidden.scalar_type()) {
    Tensor out = grad_hidden;
    at::mm_out(out, kept, up);
  } else {
    grad_hidden.copy_(at::mm(kept, up.to(kept.scalar_type())));
  }
  grad_up.copy_(accumulated_product(kept, hidden));
  if (scale != 1) grad_up.mul_(scale);
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

namespace {

void low_rank_update_kernel(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, double dropout,
                            int64_t dropout_seed, int64_t site) {
  low_rank_update(y, hidden, up, scale, {dropout, dropout_seed, site});
}

void low_rank_backward_kernel(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                              const Tensor& grad_up, double scale, double dropout, int64_t dropout_seed, int64_t site) {
  low_rank_backward(grad_y, hidden, up, grad_hidden, grad_up, scale, {dropout, dropout_seed, site});
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CompositeExplicitAutograd, m) {
  m.impl("_gate_hidden", gate_hidden);
  m.impl("_gate_hidden_backward", gate_hidden_backward);
  m.impl("_low_rank_update", low_rank_update_kernel);
  m.impl("_low_rank_backward", low_rank_backward_kernel);
}

}  // namespace composed
}  // namespace jointtuner::kernels
