// The steps of glora_linear between its large matrix products. Each is an operator of its own inside the dispatcher
// (jointtuner::_name), so that a backend registers just the steps it does better; `composed` is the ATen composition
// that every device falls back on. T = tokens, R = rank, K = in-features, M = out-features. "Accumulation dtype" is
// float32, or float64 for float64 x. All tensors are contiguous but grad_hidden.
#pragma once
#include <ATen/core/Tensor.h>

#include "jointtuner/kernels/dropout_mask.h"

namespace jointtuner::kernels {

/// float64 for float64, else float32.
inline at::ScalarType accumulation_dtype(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

namespace parts {

/// gate [groups] (accumulation dtype) = mean over a group's tokens of sigmoid(logits [T]); hidden [T, R] *=
/// gate[group], in place.
Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups);

/// gradient [T, R + 1] (accumulation dtype) holds Q = dL/d(gated hidden) / scale in its first R columns. In place: Q
/// becomes dL/d hidden = scale g Q, and column R becomes dL/d logits = scale <Q, hidden>_group / (n g) s (1 - s), with
/// `hidden` the gated one.
void gate_hidden_backward(const Tensor& gradient, const Tensor& hidden, const Tensor& logits, const Tensor& gate,
                          double scale);

/// y [T, M] += scale * Dropout(hidden [T, R] up^T [R, M]), in place. up is in x's or in the accumulation dtype.
void low_rank_update(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, const DropoutMask& mask);

/// With E = Dropout(grad_y [T, M]): grad_hidden [T, R] = E up, grad_up [M, R] = scale E^T hidden, both written in place
/// in the accumulation dtype.
void low_rank_backward(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                       const Tensor& grad_up, double scale, const DropoutMask& mask);

}  // namespace parts

namespace composed {

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups);
void gate_hidden_backward(const Tensor& gradient, const Tensor& hidden, const Tensor& logits, const Tensor& gate,
                          double scale);
void low_rank_update(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, const DropoutMask& mask);
void low_rank_backward(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                       const Tensor& grad_up, double scale, const DropoutMask& mask);

/// left^T right, [A, T] x [T, B], in the accumulation dtype: half precision is widened a block of tokens at a time,
/// because a gradient summed over thousands of tokens must not be rounded to half.
Tensor accumulated_product(const Tensor& left, const Tensor& right);

}  // namespace composed
}  // namespace jointtuner::kernels
