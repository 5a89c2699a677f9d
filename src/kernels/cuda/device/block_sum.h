// Sums over a block in an order that nothing but its size decides.
#pragma once
#include "warp.h"

namespace jointtuner::kernels::cuda {

/// The sum of all threads' values, the same bits in each thread. All threads of a block of kThreads must call it.
__device__ inline double block_sum(double value) {
  JOINTTUNER_SHARED(double, sums, kThreads / kWarp);
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xFFFFFFFF, value, distance);
  if (lane() == 0) sums[threadIdx.x / kWarp] = value;
  __syncthreads();
  double total = 0;
#pragma unroll
  for (unsigned warp = 0; warp < kThreads / kWarp; ++warp) total += sums[warp];
  __syncthreads();  // the next call writes there again
  return total;
}

}  // namespace jointtuner::kernels::cuda
