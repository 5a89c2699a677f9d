// On `meta` tensors a training step is run for its memory alone: results and buffers of the fused paths are allocated,
// nothing is drawn. (The compositions would claim integer buffers for the dropout mask.)
#include "../glora_parts.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../accumulation.h"

namespace jointtuner::kernels::meta {
namespace {

Tensor gate_hidden(const Tensor& hidden, const Tensor& /*logits*/, int64_t groups) {
  return at::empty({groups}, hidden.options().dtype(accumulation_dtype(hidden)));
}

void gate_hidden_backward(const parts::GateHiddenBackward&) {}

void low_rank_update(const parts::LowRankUpdate&) {}

void low_rank_backward(const parts::LowRankBackward&) {}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, Meta, m) {
  m.impl("_gate_hidden", gate_hidden);
  m.impl("_gate_hidden_backward", parts::gate_hidden_backward_kernel<gate_hidden_backward>);
  m.impl("_low_rank_update", parts::low_rank_update_kernel<low_rank_update>);
  m.impl("_low_rank_backward", parts::low_rank_backward_kernel<low_rank_backward>);
}

}  // namespace jointtuner::kernels::meta
