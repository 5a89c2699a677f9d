// The steps of glora_linear for CUDA tensors. Without dropout the two low-rank steps are plain matrix products, which
// cuBLAS does on tensor cores: no kernel of ours moves fewer bytes.
#include <ATen/ops/mm.h>
#include <torch/library.h>

#include "../glora_parts.h"
#include "bindings.h"
#include "glora_steps.h"

namespace jointtuner::kernels::cuda {
namespace {

Tensor gate_hidden_binding(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  if (is_double(hidden)) return composed::gate_hidden(hidden, logits, groups);
  const CUDAGuard guard(hidden.device());
  return gate_hidden(hidden, logits, groups, current_stream());
}

void gate_hidden_backward_binding(const Tensor& gradient, const Tensor& hidden, const Tensor& logits,
                                  const Tensor& gate, double scale) {
  if (is_double(hidden)) return composed::gate_hidden_backward(gradient, hidden, logits, gate, scale);
  const CUDAGuard guard(hidden.device());
  gate_hidden_backward(gradient, hidden, logits, gate, scale, current_stream());
}

void low_rank_update_binding(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, double dropout,
                             int64_t dropout_seed, int64_t site) {
  const DropoutMask mask{dropout, dropout_seed, site};
  if (is_double(y) || dropout == 0) return composed::low_rank_update(y, hidden, up, scale, mask);
  const CUDAGuard guard(y.device());
  low_rank_update(y, hidden, up, scale, mask, current_stream());
}

/// Half precision in, float32 out and in between: the composition would widen grad_y first.
void backward_products(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                       const Tensor& grad_up, double scale) {
  Tensor to_hidden = grad_hidden, to_up = grad_up;
  at::mm_out(to_hidden, grad_y, up.to(grad_y.scalar_type()), at::kFloat);
  at::mm_out(to_up, grad_y.t(), hidden, at::kFloat);
  if (scale != 1) to_up.mul_(scale);
}

void low_rank_backward_binding(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                               const Tensor& grad_up, double scale, double dropout, int64_t dropout_seed,
                               int64_t site) {
  const DropoutMask mask{dropout, dropout_seed, site};
  if (is_double(grad_y) || (dropout == 0 && grad_y.scalar_type() == at::kFloat))
    return composed::low_rank_backward(grad_y, hidden, up, grad_hidden, grad_up, scale, mask);
  const CUDAGuard guard(grad_y.device());
  if (dropout == 0) return backward_products(grad_y, hidden, up, grad_hidden, grad_up, scale);
  low_rank_backward(grad_y, hidden, up, grad_hidden, grad_up, scale, mask, current_stream());
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CUDA, m) {
  m.impl("_gate_hidden", gate_hidden_binding);
  m.impl("_gate_hidden_backward", gate_hidden_backward_binding);
  m.impl("_low_rank_update", low_rank_update_binding);
  m.impl("_low_rank_backward", low_rank_backward_binding);
}

}  // namespace jointtuner::kernels::cuda
