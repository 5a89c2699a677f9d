#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace jointtuner::kernels {

using at::Tensor;

/// Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): four random words of a
/// counter and a key.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// Which dropout mask: the step's 63-bit seed, the adapted layer's number, and the probability p in [0, 1) of dropping
/// an element.
struct DropoutMask {
  double probability = 0;
  int64_t seed = 0;
  int64_t site = 0;
};

/// Element e of the masked tensor (flat, row-major index) is kept iff word e % 4 of Philox4x32-10 with
/// counter (e/4 low 32 bits, e/4 high 32 bits, site, 0) and key (seed low 32 bits, seed high 32 bits) is >=
/// dropout_threshold(p); kept elements are multiplied by 1 / (1 - p). A mask depends on nothing else: not on device,
/// threads or batch order. Returns round(p * 2^32). Throws Error unless 0 <= p < 1.
uint64_t dropout_threshold(double probability);

/// The mask itself as numbers, 0 or 1 / (1 - p), of the given shape, dtype and device of `like`: for tests and
/// reference.
Tensor dropout_factors(const Tensor& like, const DropoutMask& mask);

}  // namespace jointtuner::kernels
