#include "dropout.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <limits>

#include "philox_block.h"
#include "vector.h"

namespace jointtuner::kernels::cpu {
namespace {

JOINTTUNER_VECTOR_CLONES
void select(const uint32_t* words, uint32_t minimum, float kept, float* factors) {
  for (int64_t i = 0; i < kBlockWords; ++i) factors[i] = words[i] >= minimum ? kept : 0.0F;
}

JOINTTUNER_VECTOR_CLONES
void select(const uint32_t* words, uint32_t minimum, double kept, double* factors) {
  for (int64_t i = 0; i < kBlockWords; ++i) factors[i] = words[i] >= minimum ? kept : 0.0;
}

/// Calls body(offset, length, factors) for runs that cover [0, n), factors[j] being the mask (0 or `value`) of element
/// offset + j.
template <class U, class Body>
void for_each_run(int64_t n, int64_t first, double value, const DropoutMask& mask, Body&& body) {
  const uint64_t threshold = dropout_threshold(mask.probability);
  const bool drops_all = threshold > std::numeric_limits<uint32_t>::max();  // p so near 1 that it rounds to 2^32
  const auto kept = static_cast<U>(drops_all ? 0 : value);
  uint32_t words[kBlockWords];
  U factors[kBlockWords];
  for (int64_t offset = 0; offset < n;) {
    const int64_t block = (first + offset) / kBlockWords, inside = (first + offset) % kBlockWords;
    const int64_t length = std::min(kBlockWords - inside, n - offset);
    draw_words(static_cast<uint64_t>(block * kBlockCounters), static_cast<uint32_t>(mask.site),
               static_cast<uint64_t>(mask.seed), words);
    select(words, static_cast<uint32_t>(threshold), kept, factors);
    body(offset, length, factors + inside);
    offset += length;
  }
}

}  // namespace

template <class T, class U>
void add_dropped(T* y, const U* u, int64_t n, int64_t first, double factor, const DropoutMask& mask) {
  for_each_run<U>(n, first, factor / (1 - mask.probability), mask,
                  [&](int64_t offset, int64_t length, const U* factors) {
                    for (int64_t i = 0; i < length; ++i)
                      y[offset + i] = static_cast<T>(static_cast<U>(y[offset + i]) + u[offset + i] * factors[i]);
                  });
}

template <class T, class U>
void drop(U* out, const T* in, int64_t n, int64_t first, const DropoutMask& mask) {
  for_each_run<U>(n, first, 1 / (1 - mask.probability), mask, [&](int64_t offset, int64_t length, const U* factors) {
    for (int64_t i = 0; i < length; ++i) out[offset + i] = static_cast<U>(in[offset + i]) * factors[i];
  });
}

template void add_dropped(float*, const float*, int64_t, int64_t, double, const DropoutMask&);
template void add_dropped(double*, const double*, int64_t, int64_t, double, const DropoutMask&);
template void add_dropped(at::Half*, const float*, int64_t, int64_t, double, const DropoutMask&);
template void add_dropped(at::BFloat16*, const float*, int64_t, int64_t, double, const DropoutMask&);
template void drop(float*, const float*, int64_t, int64_t, const DropoutMask&);
template void drop(double*, const double*, int64_t, int64_t, const DropoutMask&);
template void drop(float*, const at::Half*, int64_t, int64_t, const DropoutMask&);
template void drop(float*, const at::BFloat16*, int64_t, int64_t, const DropoutMask&);

}  // namespace jointtuner::kernels::cpu
