// The steps of glora_linear on `meta` tensors, where a training step is run for its memory alone: results and buffers
// of the fused paths are allocated, nothing is drawn. (Without these the compositions would claim integer buffers for
// the dropout mask.)
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>

#include "glora_parts.h"

namespace jointtuner::kernels::meta {
namespace {

Tensor gate_hidden(const Tensor& hidden, const Tensor& /*logits*/, int64_t groups) {
  return at::empty({groups}, hidden.options().dtype(accumulation_dtype(hidden)));
}

void gate_hidden_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double) {}

void low_rank_update(const Tensor&, const Tensor&, const Tensor&, double, double, int64_t, int64_t) {}

void low_rank_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, double,
                       int64_t, int64_t) {}

Tensor& gated_update(Tensor& y, const Tensor&, const std::optional<Tensor>&, double, double, int64_t, int64_t) {
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, Meta, m) {
  m.impl("_gate_hidden", gate_hidden);
  m.impl("_gate_hidden_backward", gate_hidden_backward);
  m.impl("_low_rank_update", low_rank_update);
  m.impl("_low_rank_backward", low_rank_backward);
  m.impl("gated_update", gated_update);
}

}  // namespace jointtuner::kernels::meta
