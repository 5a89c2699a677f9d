// The dropout masks of the operators: functions of a seed, a site and an element's place, never stored.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace jointtuner::kernels {

using at::Tensor;

/// Which dropout mask. Element e of the masked tensor (flat, row-major index) is kept if and only if
///
///   word e % 4 of Philox4x32-10(counter, key) >= dropout_threshold(probability)
///
///   counter = (e / 4 low 32 bits, e / 4 high 32 bits, site, 0)
///   key     = (seed low 32 bits, seed high 32 bits)
///
/// and what is kept is multiplied by 1 / (1 - probability). A mask depends on nothing else: not on device, threads or
/// batch order. Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
struct DropoutMask {
  double probability = 0;  ///< of dropping an element, in [0, 1)
  int64_t seed = 0;        ///< the step's, 63 bits
  int64_t site = 0;        ///< the adapted layer's number
};

/// round(probability * 2^32). Throws Error unless 0 <= probability < 1.
uint64_t dropout_threshold(double probability);

namespace reference {

/// The mask itself as numbers, 0 or 1 / (1 - probability), of the shape, dtype and device of `like`: Philox in 64-bit
/// integer tensor arithmetic.
Tensor dropout_factors(const Tensor& like, const DropoutMask& mask);

}  // namespace reference
}  // namespace jointtuner::kernels
