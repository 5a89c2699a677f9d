#include "jointtuner/kernels/dropout_mask.h"

#include <fmt/format.h>

#include <cmath>

#include "jointtuner/base/error.h"
#include "jointtuner/kernels/reference.h"
#include "philox.h"

namespace jointtuner::kernels {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  auto [c0, c1, c2, c3] = counter;
  auto [k0, k1] = key;
  for (int i = 0; i < philox::kRounds; ++i) {
    philox::round(c0, c1, c2, c3, k0, k1);
    k0 += philox::kWeyl0;
    k1 += philox::kWeyl1;
  }
  return {c0, c1, c2, c3};
}

uint64_t dropout_threshold(double probability) {
  if (!(probability >= 0 && probability < 1))
    throw Error(fmt::format("dropout: expected a probability in [0, 1), found {}", probability));
  return static_cast<uint64_t>(std::llround(probability * 4294967296.0));
}

Tensor dropout_factors(const Tensor& like, const DropoutMask& mask) { return reference::dropout_factors(like, mask); }

}  // namespace jointtuner::kernels
