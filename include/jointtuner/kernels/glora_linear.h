#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace jointtuner::kernels {

using at::Tensor;

/// A frozen linear layer with its gated low-rank adapter (GLoRA, JointTuner arXiv 2503.23951 section 3.2):
///
///   y = x W^T + b + scale * g * Dropout_p( (x D^T) U^T ),      g = mean over the pooling group's tokens of sigmoid(x
///   G^T)
///
/// x         [*, N, K]  float32, float64, float16 or bfloat16; dim 0 is batch-major, so x reshapes to [groups, -1, K]
/// weight    [M, K], bias [M]  x's dtype; frozen: they never get a gradient
/// lora_down D [R, K], lora_up U [M, R], lora_gate G [1, K]  float32 (or x's dtype); lora_gate absent: g = 1 (plain
/// LoRA) scale     plain factor (no alpha / R division); groups: pooling groups along dim 0 (the batch size for one
/// gate a sample, 1 for
///           one gate a batch, the published behaviour), groups divides x.size(0)
/// dropout   p in [0, 1), its mask is that of dropout_mask.h for (dropout_seed, site) over the update [*, N, M]
/// returns   y [*, N, M] in x's dtype
///
/// The gate is accumulated in float32 (float64 for float64 x) and multiplied onto the rank-R hidden, which differs from
/// the formula by rounding only. With lora_up = 0 or scale = 0 the result equals at::linear(x, weight, bias) bit for
/// bit. Differentiable once, in x (when it asks for it), lora_down, lora_up and lora_gate; adapters' gradients are
/// accumulated in float32. Saved for backward: x, the gated hidden [tokens, R], the gate logits [tokens]
/// and the gate [groups]; the dropout mask is drawn again. The same call gives the same bits, so it may be recomputed
/// under activation checkpointing. Runs on every device: the CPU has fused loops, meta tensors give shapes, the others
/// take a composition of ATen's.
///
/// Schema: jointtuner::glora_linear(Tensor x, Tensor weight, Tensor? bias, Tensor lora_down, Tensor lora_up, Tensor?
/// lora_gate,
///         float scale, int groups, float dropout, int dropout_seed, int site) -> Tensor
/// Throws Error when a shape, dtype or number does not fit, naming the argument.
Tensor glora_linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const Tensor& lora_down,
                    const Tensor& lora_up, const std::optional<Tensor>& lora_gate, double scale, int64_t groups,
                    double dropout, int64_t dropout_seed, int64_t site);

}  // namespace jointtuner::kernels
