// What the tests of the CUDA kernels share: operands at chosen addresses, element types, and orders of threads.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <c10/core/ScalarType.h>
#include <gtest/gtest.h>

#include <optional>

#include "kernels/oracles.h"
#include "src/kernels/cuda/on_cpu/cuda_on_cpu.h"

namespace jointtuner::kernels::cuda {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;

template <class T>
inline constexpr at::ScalarType kType = c10::CppTypeToScalarType<T>::value;

/// Where results are rounded to T once, from float32 sums that may be ordered or contracted otherwise than the
/// reference's.
template <class T>
inline constexpr double kTolerance = std::is_same_v<T, float>      ? 1e-6
                                     : std::is_same_v<T, at::Half> ? 1e-3
                                                                   : 8e-3;

/// Runs body<T>() for the three element types of the kernels.
template <class Body>
void for_each_type(const Body& body) {
  body.template operator()<float>();
  body.template operator()<at::Half>();
  body.template operator()<at::BFloat16>();
}

/// Runs body() with threads in index order, in reverse and in three random orders.
template <class Body>
void for_each_order(const Body& body) {
  using cuda_on_cpu::Order;
  for (const auto& [order, seed] : {std::pair{Order::forward, 0},
                                    {Order::reversed, 0},
                                    {Order::shuffled, 1},
                                    {Order::shuffled, 2},
                                    {Order::shuffled, 3}}) {
    SCOPED_TRACE(testing::Message() << "thread order " << static_cast<int>(order) << " seed " << seed);
    cuda_on_cpu::set_order(order, static_cast<uint64_t>(seed));
    body();
  }
  cuda_on_cpu::set_order(Order::forward);
}

/// A contiguous copy of a tensor, `offset` elements after a 64-byte boundary, with elements around it that must not
/// change.
class Placed {
 public:
  explicit Placed(const Tensor& values, int64_t offset = 0)
      : memory_(at::full({values.numel() + 2 * kGuard + offset}, kUntouched, values.options())),
        tensor_(memory_.narrow(0, kGuard + offset, values.numel()).view(values.sizes())) {
    tensor_.copy_(values);
  }
  ~Placed() {
    const int64_t before = tensor_.storage_offset(), after = before + tensor_.numel();
    EXPECT_TRUE(memory_.slice(0, 0, before).eq(kUntouched).all().item<bool>()) << "a write before the tensor";
    EXPECT_TRUE(memory_.slice(0, after).eq(kUntouched).all().item<bool>()) << "a write behind the tensor";
  }
  Placed(const Placed&) = delete;
  Placed& operator=(const Placed&) = delete;

  const Tensor& tensor() const { return tensor_; }
  template <class T>
  T* data() const {
    return tensor_.mutable_data_ptr<T>();
  }

 private:
  static constexpr int64_t kGuard = 64;
  static constexpr double kUntouched = 77;
  Tensor memory_, tensor_;
};

/// Memory to be written: holds 55 everywhere, so that an element nobody writes is seen.
inline Tensor unwritten(at::IntArrayRef sizes, at::ScalarType type) {
  return at::full(sizes, 55, at::TensorOptions(type));
}

/// EXPECTs `found` and `expected` to agree to `tolerance`, relative to the largest value expected; empty tensors agree.
inline void expect_close(const Tensor& found, const Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  if (found.numel() == 0) return;
  EXPECT_LE(relative_difference(found, expected), tolerance) << what;
}

inline constexpr int64_t kSizes[] = {0, 1, 7, 33, 4097};
inline constexpr int64_t kOffsets[] = {0, 1, 3};

}  // namespace jointtuner::kernels::cuda
