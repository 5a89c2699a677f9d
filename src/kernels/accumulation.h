// What numbers are summed in: float64 for float64, else float32.
#pragma once
#include <ATen/core/Tensor.h>

#include <type_traits>

namespace jointtuner::kernels {

inline at::ScalarType accumulation_dtype(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// The same of C++ types.
template <class T>
using accumulation_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace jointtuner::kernels
