// The dropout mask (jointtuner/kernels/dropout_mask.h) as a kernel draws it: four neighbouring elements at a time,
// never stored.
#pragma once
#include "../../philox.h"
#include "dropout_mask.h"
#include "pack.h"

namespace jointtuner::kernels::cuda {

/// The four words of counter `quad`.
__device__ inline void draw(const Dropout& mask, uint64_t quad, uint32_t words[4]) {
  philox::draw(static_cast<uint32_t>(quad), static_cast<uint32_t>(quad >> 32), mask.site, 0,
               static_cast<uint32_t>(mask.seed), static_cast<uint32_t>(mask.seed >> 32), words);
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
