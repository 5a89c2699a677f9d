// The steps of glora_linear between its large matrix products. Each is an operator of its own inside the dispatcher
// (jointtuner::_name), so that a backend registers just the steps it does better; `composed` is the ATen composition
// that every device falls back on. T = tokens, R = rank, K = in-features, M = out-features. "Accumulation dtype" is
// float32, or float64 for float64 x. All tensors are contiguous but grad_hidden.
#pragma once
#include <ATen/core/Tensor.h>

#include "jointtuner/kernels/dropout_mask.h"

namespace jointtuner::kernels {
namespace parts {

/// gate [groups] (accumulation dtype) = mean over a group's tokens of sigmoid(logits [T]).
/// In place: hidden [T, R] *= gate[group].
Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups);

/// With Q = dL/d(gated hidden) / scale, in place:
///
///   dL/d hidden = scale g Q
///   dL/d logits = scale <Q, hidden>_group / (n g) s (1 - s),  s = sigmoid(logits), n the tokens of a group
struct GateHiddenBackward {
  Tensor gradient;  ///< [T, R + 1], accumulation dtype; first R columns: Q, then dL/d hidden; column R: dL/d logits
  Tensor hidden;    ///< [T, R], the gated one
  Tensor logits;    ///< [T]
  Tensor gate;      ///< g [groups]
  double scale;
};
void gate_hidden_backward(const GateHiddenBackward& step);

/// In place: y += scale * Dropout(hidden up^T).
struct LowRankUpdate {
  Tensor y;       ///< [T, M]
  Tensor hidden;  ///< [T, R]
  Tensor up;      ///< [M, R], in x's or in the accumulation dtype
  double scale;
  DropoutMask mask;
};
void low_rank_update(const LowRankUpdate& step);

/// With E = Dropout(grad_y), written in place: grad_hidden = E up, grad_up = scale E^T hidden.
struct LowRankBackward {
  Tensor grad_y;       ///< [T, M]
  Tensor hidden;       ///< [T, R]
  Tensor up;           ///< [M, R], in x's or in the accumulation dtype
  Tensor grad_hidden;  ///< [T, R], accumulation dtype
  Tensor grad_up;      ///< [M, R], accumulation dtype
  double scale;
  DropoutMask mask;
};
void low_rank_backward(const LowRankBackward& step);

/// Kernels with the operators' flat arguments that call `run` in place of them.
template <decltype(gate_hidden_backward) run>
void gate_hidden_backward_kernel(const Tensor& gradient, const Tensor& hidden, const Tensor& logits, const Tensor& gate,
                                 double scale) {
  run({gradient, hidden, logits, gate, scale});
}
template <decltype(low_rank_update) run>
void low_rank_update_kernel(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, double dropout,
                            int64_t dropout_seed, int64_t site) {
  run({y, hidden, up, scale, {dropout, dropout_seed, site}});
}
template <decltype(low_rank_backward) run>
void low_rank_backward_kernel(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                              const Tensor& grad_up, double scale, double dropout, int64_t dropout_seed, int64_t site) {
  run({grad_y, hidden, up, grad_hidden, grad_up, scale, {dropout, dropout_seed, site}});
}

}  // namespace parts

namespace composed {

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups);
void gate_hidden_backward(const parts::GateHiddenBackward& step);
void low_rank_update(const parts::LowRankUpdate& step);
void low_rank_backward(const parts::LowRankBackward& step);

/// left^T right, [A, T] x [T, B], in the accumulation dtype: half precision is widened a block of tokens at a time,
/// because a gradient summed over thousands of tokens must not be rounded to half.
Tensor accumulated_product(const Tensor& left, const Tensor& right);

}  // namespace composed
}  // namespace jointtuner::kernels
