#include "glora_parts.h"

#include <torch/library.h>

#include "handle.h"

namespace jointtuner::kernels::parts {

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def("_gate_hidden(Tensor(a!) hidden, Tensor logits, int groups) -> Tensor");
  m.def("_gate_hidden_backward(Tensor(a!) gradient, Tensor hidden, Tensor logits, Tensor gate, float scale) -> ()");
  m.def(
      "_low_rank_update(Tensor(a!) y, Tensor hidden, Tensor up, "
      "float scale, float dropout, int dropout_seed, int site) -> ()");
  m.def(
      "_low_rank_backward(Tensor grad_y, Tensor hidden, Tensor up, Tensor(a!) grad_hidden, Tensor(b!) grad_up, "
      "float scale, float dropout, int dropout_seed, int site) -> ()");
}

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  static const auto op = handle<decltype(gate_hidden)>("jointtuner::_gate_hidden");
  return op.call(hidden, logits, groups);
}

void gate_hidden_backward(const GateHiddenBackward& step) {
  static const auto op =
      handle<decltype(gate_hidden_backward_kernel<gate_hidden_backward>)>("jointtuner::_gate_hidden_backward");
  op.call(step.gradient, step.hidden, step.logits, step.gate, step.scale);
}

void low_rank_update(const LowRankUpdate& step) {
  static const auto op = handle<decltype(low_rank_update_kernel<low_rank_update>)>("jointtuner::_low_rank_update");
  op.call(step.y, step.hidden, step.up, step.scale, step.mask.probability, step.mask.seed, step.mask.site);
}

void low_rank_backward(const LowRankBackward& step) {
  static const auto op =
      handle<decltype(low_rank_backward_kernel<low_rank_backward>)>("jointtuner::_low_rank_backward");
  op.call(step.grad_y, step.hidden, step.up, step.grad_hidden, step.grad_up, step.scale, step.mask.probability,
          step.mask.seed, step.mask.site);
}

}  // namespace jointtuner::kernels::parts
