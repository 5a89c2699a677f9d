// From tensors and masks to what launchers take.
#pragma once
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "device/dropout.h"
#include "jointtuner/base/error.h"
#include "jointtuner/kernels/dropout_mask.h"

namespace jointtuner::kernels::cuda {

/// body<T>() for the tensor's type T: float, at::Half or at::BFloat16.
template <class Body>
void for_type_of(const Tensor& tensor, const char* op, const Body& body) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return body.template operator()<float>();
    case at::kHalf:
      return body.template operator()<at::Half>();
    case at::kBFloat16:
      return body.template operator()<at::BFloat16>();
    default:
      throw Error(fmt::format("{}: expected float32, float16 or bfloat16 for a CUDA kernel, found {}", op,
                              c10::toString(tensor.scalar_type())));
  }
}

/// With factors 0 and `value` / (1 - p).
inline Dropout dropout_of(const DropoutMask& mask, double value) {
  constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
  const uint64_t threshold = dropout_threshold(mask.probability);
  const bool drops_all = threshold > kMost;  // p so near 1 that it rounds to 2^32
  return {mask.probability > 0, static_cast<uint32_t>(std::min(threshold, kMost)),
          drops_all ? 0.0F : static_cast<float>(value / (1 - mask.probability)), static_cast<uint32_t>(mask.site),
          static_cast<uint64_t>(mask.seed)};
}

/// Null for a tensor that is not there.
template <class T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

}  // namespace jointtuner::kernels::cuda
