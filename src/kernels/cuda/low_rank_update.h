// The step low_rank_update of glora_linear (../glora_parts.h) with dropout, on a GPU: raw pointers, no ATen.
#pragma once
#include "device/dropout.h"

namespace jointtuner::kernels::cuda {

/// y [tokens, columns] += Dropout(hidden [tokens, rank] up^T), with up [columns, rank]; the scale is part of
/// dropout.kept. All contiguous.
template <class T>
struct LowRankUpdate {
  T* y;
  const T* hidden;
  const float* up;
  int64_t tokens, rank, columns;
  Dropout dropout;
};

/// T: float, c10::Half, c10::BFloat16. One launch of at most `most_blocks` blocks.
template <class T>
void low_rank_update(const LowRankUpdate<T>& arguments, cudaStream_t stream, int64_t most_blocks = 65536);

}  // namespace jointtuner::kernels::cuda
