// A gated update with dropout, added in place.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "jointtuner/kernels/dropout_mask.h"

namespace jointtuner::kernels {

/// Adds a gated, dropped-out update to y in place and returns y:
///
///   y += scale * g[group] * Dropout_p(update)
///
/// y, update  [*, M]    one floating dtype and shape, y contiguous
/// gate g     [groups]  float32 (float64 for float64 y); absent: g = 1. y's rows (all dimensions but the last) split
///                      into `groups` equal consecutive groups
/// mask                 drawn anew from its definition (dropout_mask.h) in forward and in backward: nothing of y's size
///                      is kept
///
/// Differentiable once, in y, update and gate; saves gate, and update only when the gate asks for a gradient. float16
/// and bfloat16 are computed in float32 and rounded once.
///
/// Schema:
///   jointtuner::gated_update(Tensor(a!) y, Tensor update, Tensor? gate, float scale,
///                            float dropout, int dropout_seed, int site) -> Tensor(a!)
///
/// Throws Error when shapes or dtypes do not fit.
Tensor& gated_update(Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                     const DropoutMask& mask);

namespace reference {

/// The definition, composed of ATen's operators. Not in place: returns y + scale * g[group] * Dropout_p(update).
Tensor gated_update(const Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                    const DropoutMask& mask);

}  // namespace reference
}  // namespace jointtuner::kernels
