// Work by warps: units of work handed out to all warps of a grid, and sums over a warp.
#pragma once
#include <algorithm>

#include "gpu.h"

namespace jointtuner::kernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr int64_t kWarpsOfBlock = kThreads / kWarp;

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }

/// The sum of all lanes' values, the same bits in each lane.
__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xFFFFFFFF, value, distance);
  return value;
}

/// Calls body(unit) for the units [0, units) that fall to this warp. Grid: warps_grid, blocks of kThreads.
template <class Body>
__device__ void for_each_unit(int64_t units, const Body& body) {
  const int64_t first = blockIdx.x * kWarpsOfBlock + threadIdx.x / kWarp;
  for (int64_t unit = first; unit < units; unit += gridDim.x * kWarpsOfBlock) body(unit);
}

inline unsigned warps_grid(int64_t units, int64_t most_blocks) {
  return static_cast<unsigned>(std::min((units + kWarpsOfBlock - 1) / kWarpsOfBlock, most_blocks));
}

/// How the tokens of each pooling group are cut into runs, one unit of work each. By the sizes alone, so that sums have
/// the same bits on every GPU. At most kMostRuns a group, since each run of a second stage reads all sums of the
/// first.
struct Runs {
  int64_t tokens;  ///< of a run, but the last of a group
  int64_t count;   ///< a group
};
inline constexpr int64_t kMostRuns = 1024;
inline Runs runs_of(int64_t group_tokens, int64_t wanted_tokens) {
  const int64_t tokens = std::max({int64_t{1}, wanted_tokens, (group_tokens + kMostRuns - 1) / kMostRuns});
  return {tokens, (group_tokens + tokens - 1) / tokens};
}

/// Tokens [first, first + count) of `group`.
struct Run {
  int64_t group, first, count;
};
__device__ inline Run run_of(int64_t unit, const Runs& runs, int64_t group_tokens) {
  const int64_t group = unit / runs.count, start = unit % runs.count * runs.tokens;
  return {group, group * group_tokens + start, std::min(runs.tokens, group_tokens - start)};
}

}  // namespace jointtuner::kernels::cuda
