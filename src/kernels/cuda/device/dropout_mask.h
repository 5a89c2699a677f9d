// The dropout mask as an argument of kernels; device/dropout.h draws it. No device code, for ATen's side sees this too.
#pragma once
#include <cstdint>

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

}  // namespace jointtuner::kernels::cuda
