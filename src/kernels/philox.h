// Philox4x32-10 as inline arithmetic: the same lines serve the CPU's blocks, device code and tests.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define JOINTTUNER_HOST_DEVICE __host__ __device__
#else
#define JOINTTUNER_HOST_DEVICE
#endif

namespace jointtuner::kernels::philox {

inline constexpr uint32_t kMultiplier0 = 0xD2511F53;
inline constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
inline constexpr uint32_t kWeyl0 = 0x9E3779B9;
inline constexpr uint32_t kWeyl1 = 0xBB67AE85;
inline constexpr int kRounds = 10;

/// One round on the counter words c0..c3 with key words k0, k1.
JOINTTUNER_HOST_DEVICE inline __attribute__((always_inline)) void round(uint32_t& c0, uint32_t& c1, uint32_t& c2,
                                                                        uint32_t& c3, uint32_t k0, uint32_t k1) {
  const uint64_t product0 = static_cast<uint64_t>(kMultiplier0) * c0;
  const uint64_t product1 = static_cast<uint64_t>(kMultiplier1) * c2;
  const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ k0;
  const uint32_t next2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ k1;
  c1 = static_cast<uint32_t>(product1);
  c3 = static_cast<uint32_t>(product0);
  c0 = next0;
  c2 = next2;
}

/// The four words of the counter c0..c3 and the key k0, k1.
JOINTTUNER_HOST_DEVICE inline __attribute__((always_inline)) void draw(uint32_t c0, uint32_t c1, uint32_t c2,
                                                                       uint32_t c3, uint32_t k0, uint32_t k1,
                                                                       uint32_t words[4]) {
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int i = 0; i < kRounds; ++i) {
    round(c0, c1, c2, c3, k0, k1);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

}  // namespace jointtuner::kernels::philox
