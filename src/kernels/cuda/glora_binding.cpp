// The steps of glora_linear for CUDA tensors. Without dropout the two low-rank steps are plain matrix products, which
// cuBLAS does on tensor cores: no kernel of ours moves fewer bytes.
#include <ATen/ops/mm.h>
#include <torch/library.h>

#include "binding.h"
#include "glora_steps.h"

namespace jointtuner::kernels::cuda {
namespace {

Tensor gate_hidden_binding(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  if (is_double(hidden)) return composed::gate_hidden(hidden, logits, groups);
  const CUDAGuard guard(hidden.device());
  return gate_hidden(hidden, logits, groups, current_stream());
}

void gate_hidden_backward_binding(const parts::GateHiddenBackward& step) {
  if (is_double(step.hidden)) return composed::gate_hidden_backward(step);
  const CUDAGuard guard(step.hidden.device());
  gate_hidden_backward(step, current_stream());
}

void low_rank_update_binding(const parts::LowRankUpdate& step) {
  if (is_double(step.y) || step.mask.probability == 0) return composed::low_rank_update(step);
  const CUDAGuard guard(step.y.device());
  low_rank_update(step, current_stream());
}

/// Half precision in, float32 out and in between: the composition would widen grad_y first.
void backward_products(const parts::LowRankBackward& step) {
  Tensor to_hidden = step.grad_hidden, to_up = step.grad_up;
  at::mm_out(to_hidden, step.grad_y, step.up.to(step.grad_y.scalar_type()), at::kFloat);
  at::mm_out(to_up, step.grad_y.t(), step.hidden, at::kFloat);
  if (step.scale != 1) to_up.mul_(step.scale);
}

void low_rank_backward_binding(const parts::LowRankBackward& step) {
  const bool drops = step.mask.probability != 0;
  if (is_double(step.grad_y) || (!drops && step.grad_y.scalar_type() == at::kFloat))
    return composed::low_rank_backward(step);
  const CUDAGuard guard(step.grad_y.device());
  if (drops)
    low_rank_backward(step, current_stream());
  else
    backward_products(step);
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CUDA, m) {
  m.impl("_gate_hidden", gate_hidden_binding);
  m.impl("_gate_hidden_backward", parts::gate_hidden_backward_kernel<gate_hidden_backward_binding>);
  m.impl("_low_rank_update", parts::low_rank_update_kernel<low_rank_update_binding>);
  m.impl("_low_rank_backward", parts::low_rank_backward_kernel<low_rank_backward_binding>);
}

}  // namespace jointtuner::kernels::cuda
