#include "philox_block.h"

#include "../philox.h"

#if defined(__x86_64__)
// GCC 12's AVX-512 header initialises its "undefined" vectors with themselves and then warns about it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif

namespace jointtuner::kernels::cpu {
namespace {

void draw_scalar(uint64_t first_counter, uint32_t site, uint64_t seed, uint32_t* words) {
  for (int64_t i = 0; i < kBlockCounters; ++i, words += 4) {
    const uint64_t counter = first_counter + static_cast<uint64_t>(i);
    philox::draw(static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), site, 0,
                 static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), words);
  }
}

#if defined(__x86_64__)
// Each 32-bit word sits in a 64-bit lane: the widening multiplication reads the low half only, so what a product leaves
// in the high half never needs clearing. Compilers do not find this form by themselves and are four times slower.

__attribute__((target("avx512f"))) void draw_avx512(uint64_t first_counter, uint32_t site, uint64_t seed,
                                                    uint32_t* words) {
  const __m512i multiplier0 = _mm512_set1_epi64(philox::kMultiplier0),
                multiplier1 = _mm512_set1_epi64(philox::kMultiplier1);
  const __m512i low_half = _mm512_set1_epi64(0xFFFFFFFF), lanes = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i front = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), back = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
  constexpr int kVectors = 2;
  for (int64_t start = 0; start < kBlockCounters; start += 8 * kVectors) {
    __m512i c0[kVectors], c1[kVectors], c2[kVectors], c3[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      c0[v] = _mm512_add_epi64(_mm512_set1_epi64(static_cast<int64_t>(first_counter) + start + 8 * v), lanes);
      c1[v] = _mm512_srli_epi64(c0[v], 32);
      c2[v] = _mm512_set1_epi64(site);
      c3[v] = _mm512_setzero_si512();
    }
    auto k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < philox::kRounds; ++round) {
      const __m512i key0 = _mm512_set1_epi64(k0), key1 = _mm512_set1_epi64(k1);
      for (int v = 0; v < kVectors; ++v) {
        const __m512i product0 = _mm512_mul_epu32(multiplier0, c0[v]), product1 = _mm512_mul_epu32(multiplier1, c2[v]);
        c0[v] = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(product1, 32), c1[v]), key0);
        c2[v] = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(product0, 32), c3[v]), key1);
        c1[v] = product1;
        c3[v] = product0;
      }
      k0 += philox::kWeyl0;
      k1 += philox::kWeyl1;
    }
    for (int v = 0; v < kVectors; ++v, words += 32) {
      const __m512i pair01 = _mm512_or_si512(_mm512_and_si512(c0[v], low_half), _mm512_slli_epi64(c1[v], 32));
      const __m512i pair23 = _mm512_or_si512(_mm512_and_si512(c2[v], low_half), _mm512_slli_epi64(c3[v], 32));
      _mm512_storeu_si512(words, _mm512_permutex2var_epi64(pair01, front, pair23));
      _mm512_storeu_si512(words + 16, _mm512_permutex2var_epi64(pair01, back, pair23));
    }
  }
}

__attribute__((target("avx2"))) void draw_avx2(uint64_t first_counter, uint32_t site, uint64_t seed, uint32_t* words) {
  const __m256i multiplier0 = _mm256_set1_epi64x(philox::kMultiplier0),
                multiplier1 = _mm256_set1_epi64x(philox::kMultiplier1);
  const __m256i low_half = _mm256_set1_epi64x(0xFFFFFFFF), lanes = _mm256_set_epi64x(3, 2, 1, 0);
  for (int64_t start = 0; start < kBlockCounters; start += 4, words += 16) {
    __m256i c0 = _mm256_add_epi64(_mm256_set1_epi64x(static_cast<int64_t>(first_counter) + start), lanes);
    __m256i c1 = _mm256_srli_epi64(c0, 32), c2 = _mm256_set1_epi64x(site), c3 = _mm256_setzero_si256();
    auto k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < philox::kRounds; ++round) {
      const __m256i product0 = _mm256_mul_epu32(multiplier0, c0), product1 = _mm256_mul_epu32(multiplier1, c2);
      c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(product1, 32), c1), _mm256_set1_epi64x(k0));
      c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(product0, 32), c3), _mm256_set1_epi64x(k1));
      c1 = product1;
      c3 = product0;
      k0 += philox::kWeyl0;
      k1 += philox::kWeyl1;
    }
    const __m256i pair01 = _mm256_or_si256(_mm256_and_si256(c0, low_half), _mm256_slli_epi64(c1, 32));
    const __m256i pair23 = _mm256_or_si256(_mm256_and_si256(c2, low_half), _mm256_slli_epi64(c3, 32));
    const __m256i even = _mm256_unpacklo_epi64(pair01, pair23), odd = _mm256_unpackhi_epi64(pair01, pair23);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + 8), _mm256_permute2x128_si256(even, odd, 0x31));
  }
}
#endif

using Draw = void (*)(uint64_t, uint32_t, uint64_t, uint32_t*);

Draw fastest() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return draw_avx512;
  if (__builtin_cpu_supports("avx2")) return draw_avx2;
#endif
  return draw_scalar;
}

}  // namespace

void draw_words(uint64_t first_counter, uint32_t site, uint64_t seed, uint32_t* words) {
  static const Draw draw = fastest();
  draw(first_counter, site, seed, words);
}

}  // namespace jointtuner::kernels::cpu
