// The step low_rank_backward of glora_linear (../glora_parts.h) on a GPU: raw pointers, no ATen.
#pragma once
#include "device/dropout_mask.h"
#include "device/stream.h"

namespace jointtuner::kernels::cuda {

/// With E = Dropout(grad_y [tokens, columns]):
///
///   grad_hidden [tokens, rank]  = E up, its rows grad_hidden_stride elements apart
///   grad_up     [columns, rank] = scale E^T hidden
///
/// All but grad_hidden are contiguous.
template <class T>
struct LowRankBackward {
  const T* grad_y;
  const T* hidden;  ///< [tokens, rank]
  const float* up;  ///< [columns, rank]
  float* grad_hidden;
  float* grad_up;
  float* partial;  ///< work space of partials() elements
  int64_t tokens, rank, columns, grad_hidden_stride;
  float scale;
  Dropout dropout;
};

/// Two million at most, whatever the sizes.
template <class T>
int64_t partials(const LowRankBackward<T>& arguments);

/// T: float, c10::Half, c10::BFloat16. Two to four launches of at most `most_blocks` blocks each.
template <class T>
void low_rank_backward(const LowRankBackward<T>& arguments, cudaStream_t stream, int64_t most_blocks = 65536);

}  // namespace jointtuner::kernels::cuda
