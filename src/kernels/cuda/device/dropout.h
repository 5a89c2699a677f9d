// The dropout mask (jointtuner/kernels/dropout_mask.h) as a kernel draws it: four neighbouring elements at a time,
// never stored.
#pragma once
#include "../../philox.h"
#include "pack.h"

namespace jointtuner::kernels::cuda {

/// What a kernel needs to know of a mask. A dropped element's factor is 0, a kept one's `kept`: 1 / (1 - p), times
/// whatever else the kernel multiplies by.
struct Dropout {
  bool active;       ///< p > 0; else every factor is `kept` and nothing is drawn
  uint32_t minimum;  ///< of a kept element's word
  float kept;
  uint32_t site;
  uint64_t seed;
};

/// The four words of counter `quad`.
__device__ inline void draw(const Dropout& mask, uint64_t quad, uint32_t words[4]) {
  uint32_t c0 = static_cast<uint32_t>(quad), c1 = static_cast<uint32_t>(quad >> 32), c2 = mask.site, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(mask.seed), k1 = static_cast<uint32_t>(mask.seed >> 32);
#pragma unroll
  for (int i = 0; i < philox::kRounds; ++i) {
    philox::round(c0, c1, c2, c3, k0, k1);
    k0 += philox::kWeyl0;
    k1 += philox::kWeyl1;
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

/// The factors of elements first .. first + 3 of the masked tensor: one counter where first is a multiple of 4, else
/// two.
__device__ inline Floats<4> dropout_factors(const Dropout& mask, int64_t first) {
  if (!mask.active) return {{mask.kept, mask.kept, mask.kept, mask.kept}};
  const auto quad = static_cast<uint64_t>(first) / 4;
  uint32_t words[8];
  draw(mask, quad, words);
  if (first % 4 != 0) {
    draw(mask, quad + 1, words + 4);
    // Shifts by constants, since an index that varies would move the words to memory.
#pragma unroll
    for (int i = 0; i < 7; ++i) words[i] = (first & 1) != 0 ? words[i + 1] : words[i];
#pragma unroll
    for (int i = 0; i < 4; ++i) words[i] = (first & 2) != 0 ? words[i + 2] : words[i];
  }
  Floats<4> factors;
#pragma unroll
  for (int i = 0; i < 4; ++i) factors[i] = words[i] >= mask.minimum ? mask.kept : 0.0F;
  return factors;
}

}  // namespace jointtuner::kernels::cuda
