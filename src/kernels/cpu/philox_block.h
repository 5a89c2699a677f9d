// Many Philox words at once.
#pragma once
#include <cstdint>

namespace jointtuner::kernels::cpu {

inline constexpr int64_t kBlockCounters = 64;
inline constexpr int64_t kBlockWords = 4 * kBlockCounters;

/// words[4 i + j] = word j of Philox4x32-10 with counter (first + i, low and high half; site; 0), for i in [0, 64).
/// The fastest version this processor can run.
void draw_words(uint64_t first_counter, uint32_t site, uint64_t seed, uint32_t* words);

}  // namespace jointtuner::kernels::cpu
