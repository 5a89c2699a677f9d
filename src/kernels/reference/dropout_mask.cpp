#include "jointtuner/kernels/dropout_mask.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/stack.h>

#include "../philox.h"

namespace jointtuner::kernels::reference {
namespace {

constexpr int64_t kLow32 = 0xFFFFFFFF;

struct Product {
  Tensor high, low;
};

/// multiplier * word as two 32-bit halves: int64 products wrap modulo 2^64, which keeps all 64 bits of the unsigned
/// product.
Product product(const Tensor& word, uint32_t multiplier) {
  const Tensor whole = word * static_cast<int64_t>(multiplier);
  return {whole.__rshift__(32).__and__(kLow32), whole.__and__(kLow32)};
}

/// The four words of each counter, int64 [counters, 4] with values in 0 .. 2^32 - 1.
Tensor philox_words(const Tensor& counter, const DropoutMask& mask) {
  Tensor c0 = counter.__and__(kLow32), c1 = counter.__rshift__(32).__and__(kLow32);
  Tensor c2 = counter * 0 + (mask.site & kLow32), c3 = counter * 0;
  int64_t k0 = mask.seed & kLow32, k1 = (mask.seed >> 32) & kLow32;
  for (int i = 0; i < philox::kRounds; ++i) {
    const Product p0 = product(c0, philox::kMultiplier0), p1 = product(c2, philox::kMultiplier1);
    c0 = p1.high.__xor__(c1).__xor__(k0);
    c2 = p0.high.__xor__(c3).__xor__(k1);
    c1 = p1.low;
    c3 = p0.low;
    k0 = (k0 + philox::kWeyl0) & kLow32;
    k1 = (k1 + philox::kWeyl1) & kLow32;
  }
  return at::stack({c0, c1, c2, c3}, 1);
}

}  // namespace

Tensor dropout_factors(const Tensor& like, const DropoutMask& mask) {
  const auto threshold = static_cast<int64_t>(dropout_threshold(mask.probability));
  const int64_t elements = like.numel();
  const Tensor counter = at::arange((elements + 3) / 4, like.options().dtype(at::kLong).requires_grad(false));
  const Tensor words = philox_words(counter, mask).flatten().narrow(0, 0, elements);
  const Tensor kept = words.ge(threshold).view(like.sizes()).to(like.scalar_type());
  return kept * (1 / (1 - mask.probability));
}

}  // namespace jointtuner::kernels::reference
