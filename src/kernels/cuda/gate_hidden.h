// The steps gate_hidden and gate_hidden_backward of glora_linear (../glora_parts.h) on a GPU: raw pointers, no ATen.
#pragma once
#include <cstdint>

#include "device/stream.h"

namespace jointtuner::kernels::cuda {

/// gate [groups] = mean over a group's tokens of sigmoid(logits); hidden *= gate[group], in place. All contiguous, the
/// tokens of a group beside each other.
template <class T>
struct GateHidden {
  T* hidden;        ///< [groups * group_tokens, rank]
  const T* logits;  ///< [groups * group_tokens]
  float* gate;
  float* partial;  ///< work space of partials() elements
  int64_t groups, group_tokens, rank;
};

/// gradient [groups * group_tokens, rank + 1] holds Q in its first columns. In place:
///
///   Q           *= scale gate[group]
///   last column  = scale <Q, hidden>_group / (group_tokens gate) s (1 - s),  s = sigmoid(logits); 0 where the gate is
template <class T>
struct GateHiddenBackward {
  float* gradient;
  const T* hidden;  ///< gated, [groups * group_tokens, rank]
  const T* logits;
  const float* gate;
  float* partial;  ///< work space of partials() elements
  int64_t groups, group_tokens, rank;
  float scale;
};

/// 1024 a group at most.
template <class T>
int64_t partials(const GateHidden<T>& arguments);
template <class T>
int64_t partials(const GateHiddenBackward<T>& arguments);

/// T: float, c10::Half, c10::BFloat16. Two launches of at most `most_blocks` blocks each.
template <class T>
void gate_hidden(const GateHidden<T>& arguments, cudaStream_t stream, int64_t most_blocks = 65536);
template <class T>
void gate_hidden_backward(const GateHiddenBackward<T>& arguments, cudaStream_t stream, int64_t most_blocks = 65536);

}  // namespace jointtuner::kernels::cuda
