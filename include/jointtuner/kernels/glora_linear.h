// The adapted linear layer.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "jointtuner/kernels/dropout_mask.h"

namespace jointtuner::kernels {

/// A linear layer of the backbone, in x's dtype. It never gets a gradient.
struct FrozenLinear {
  Tensor weight;                 ///< W [M, K]
  std::optional<Tensor> bias{};  ///< b [M]
};

/// Its adapter, in float32 or x's dtype.
struct GloraAdapter {
  Tensor down;                   ///< lora_down D [R, K]
  Tensor up;                     ///< lora_up U [M, R]
  std::optional<Tensor> gate{};  ///< lora_gate G [1, K]; absent: g = 1, plain LoRA
};

struct GloraOptions {
  double scale = 1;  ///< a plain factor: no division by the rank
  /// Pooling groups along x's first dimension, which they divide: the batch size for one gate a sample; 1 for one gate
  /// a batch, the published behaviour.
  int64_t groups = 1;
  DropoutMask dropout{};  ///< over the update [*, N, M]
};

/// A frozen linear layer with its gated low-rank adapter (GLoRA, JointTuner arXiv 2503.23951 section 3.2):
///
///   y = x W^T + b + scale * g * Dropout_p( (x D^T) U^T )
///   g = mean over the pooling group's tokens of sigmoid(x G^T)
///
/// x          [*, N, K]  float32, float64, float16 or bfloat16; samples lie along dimension 0, so that x reshapes to
///                       [groups, -1, K]
/// returns y  [*, N, M]  in x's dtype
///
/// The gate is accumulated in float32 (float64 for float64 x) and multiplied onto the rank-R hidden, which differs from
/// the formula by rounding only. With lora_up = 0 or scale = 0 the result equals at::linear(x, W, b) bit for bit.
///
/// Differentiable once, in x (when it asks for it), lora_down, lora_up and lora_gate; the adapter's gradients are
/// accumulated in float32. Saved for backward: x, the gated hidden [tokens, R], the gate logits [tokens] and the gate
/// [groups]; the dropout mask is drawn again. The same call gives the same bits, so it may be recomputed under
/// activation checkpointing.
///
/// Runs on every device. Its steps between the large matrix products have kernels for CPU and CUDA, on meta tensors
/// they give shapes, elsewhere (and in float64 on CUDA) they are composed of ATen's operators.
///
/// Schema:
///   jointtuner::glora_linear(Tensor x, Tensor weight, Tensor? bias,
///                            Tensor lora_down, Tensor lora_up, Tensor? lora_gate,
///                            float scale, int groups, float dropout, int dropout_seed, int site) -> Tensor
///
/// Throws Error when a shape, dtype or number does not fit, naming the argument.
Tensor glora_linear(const Tensor& x, const FrozenLinear& frozen, const GloraAdapter& adapter,
                    const GloraOptions& how = {});

namespace reference {

/// The definition, composed of ATen's operators in the order of the formula. Unlike the operator it rounds half
/// precision after each step, as Python does under autocast.
Tensor glora_linear(const Tensor& x, const FrozenLinear& frozen, const GloraAdapter& adapter,
                    const GloraOptions& how = {});

}  // namespace reference
}  // namespace jointtuner::kernels
