#include "src/kernels/cuda/shifted_mse.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "device_memory.h"
#include "jointtuner/kernels/shifted_mse.h"
#include "src/kernels/cuda/shifted_mse_steps.h"

namespace jointtuner::kernels::cuda {
namespace {

struct Case {
  int64_t items, channels, height, width, offset;
  std::string text() const { return fmt::format("[{}, {}, 1, {}, {}] at {}", items, channels, height, width, offset); }
};

/// Planes of 1, 3, 7, 11 and 33 pixels: packs that lie in several; of 64 and 4097: in one, and longer than a block's
/// share.
const std::vector<Case> kCases{{1, 1, 1, 1, 0},    {1, 7, 1, 1, 1},    {3, 11, 1, 3, 0},  {2, 1, 1, 7, 3},
                               {3, 3, 1, 11, 1},   {5, 5, 3, 11, 0},   {2, 3, 8, 8, 0},   {1, 1, 17, 241, 0},
                               {2, 1, 17, 241, 1}, {2, 40, 17, 30, 3}, {1, 70, 64, 64, 0}};

template <class T, class V>
void run_and_compare(const Case& c, bool shifted, bool each_item) {
  const std::vector<int64_t> shape{c.items, c.channels, 1, c.height, c.width};
  const Placed prediction(wave(shape, 0.1, 2, kType<T>), c.offset), target(wave(shape, 0.9, 1, kType<V>), c.offset);
  const Placed shift(wave({c.items, 1, 1, c.height, c.width}, 0.5, 1, at::kFloat), c.offset);
  const Placed gradient(unwritten(shape, kType<T>), c.offset);
  const int64_t plane = c.height * c.width, per_item = c.channels * plane;
  const ShiftedMse<T, V> arguments{
      prediction.data<T>(), target.data<V>(), shifted ? shift.data<float>() : nullptr, 0.6F, c.items, per_item, plane};
  const int64_t losses = each_item ? c.items : 1;
  const Placed sums(unwritten({shifted_mse_partial_sums(c.items, per_item)}, at::kDouble));
  const Placed loss(unwritten({losses}, at::kFloat)), grad_loss(wave({losses}, 0.8, 3, at::kFloat));
  shifted_mse(arguments, sums.data<double>(), loss.data<float>(), each_item, nullptr);
  shifted_mse_backward(arguments, grad_loss.data<float>(), each_item, gradient.data<T>(), nullptr);

  const MaybeTensor maybe_shift = shifted ? MaybeTensor(shift.tensor()) : std::nullopt;
  const auto reduction = each_item ? LossReduction::per_item : LossReduction::mean;
  const std::string what = fmt::format("{}, shifted {}, each item {}", c.text(), shifted, each_item);
  const Tensor expected = reference::shifted_mse(prediction.tensor(), target.tensor(), maybe_shift, 0.6, reduction);
  // The kernel sums in float64; the reference's float32 sum is what differs.
  expect_close(loss.tensor(), expected.view({losses}), 1e-6, "loss: " + what);
  const Tensor from_above = each_item ? grad_loss.tensor() : grad_loss.tensor()[0];
  expect_close(gradient.tensor(),
               reference::shifted_mse_backward(from_above, prediction.tensor(), target.tensor(), maybe_shift, 0.6),
               kTolerance<T>, "gradient: " + what);
}

template <class Body>
void for_each_pair(const Body& body) {
  body.template operator()<float, float>();
  body.template operator()<at::Half, at::Half>();
  body.template operator()<at::Half, float>();
  body.template operator()<at::BFloat16, at::BFloat16>();
  body.template operator()<at::BFloat16, float>();
}

TEST(CudaShiftedMse, EqualsReference) {
  for_each_order([] {
    for_each_pair([]<class T, class V>() {
      for (const Case& c : kCases) {
        run_and_compare<T, V>(c, true, c.items % 2 == 0);
        run_and_compare<T, V>(c, c.channels % 2 == 0, true);
        run_and_compare<T, V>(c, false, false);
      }
    });
  });
}

TEST(CudaShiftedMse, LossHasTheSameBitsInEveryOrder) {
  const Tensor prediction = wave({2, 70, 1, 64, 64}, 0.1, 2, at::kHalf), target = wave({2, 70, 1, 64, 64}, 0.9);
  Tensor first;
  for_each_order([&] {
    const Tensor loss = shifted_mse({prediction, target, std::nullopt, 0}, true, nullptr);
    if (!first.defined()) first = loss;
    EXPECT_TRUE(loss.equal(first));
  });
}

TEST(CudaShiftedMse, StepTakesTheOperatorsArguments) {
  const Tensor prediction = wave({2, 3, 2, 5, 4}, 0.1, 1, at::kHalf).transpose(1, 2);
  for (const auto type : {at::kHalf, at::kFloat, at::kBFloat16}) {
    const Tensor target = wave({2, 2, 3, 5, 4}, 0.8, 1, type), shift = wave({2, 1, 1, 5, 4}, 0.3, 1, at::kHalf);
    const Compared compared{prediction, target, shift, 0.4};
    for (const bool per_item : {true, false}) {
      const Tensor loss = shifted_mse(compared, per_item, nullptr);
      EXPECT_EQ(loss.dim(), per_item ? 1 : 0);
      const Tensor expected = reference::shifted_mse(prediction, target, shift, 0.4,
                                                     per_item ? LossReduction::per_item : LossReduction::mean);
      expect_close(loss, expected, 1e-6, "loss");
      const Tensor grad_loss = wave(loss.sizes(), 0.5, 2, at::kDouble);
      expect_close(shifted_mse_backward(grad_loss, compared, nullptr),
                   reference::shifted_mse_backward(grad_loss, prediction, target, shift, 0.4), kTolerance<at::Half>,
                   "gradient");
    }
  }
}

TEST(CudaShiftedMse, EmptyLaunchesNothing) {
  cuda_on_cpu::reset_counters();
  const ShiftedMse<float, float> nothing{nullptr, nullptr, nullptr, 0, 0, 7, 7};
  shifted_mse(nothing, nullptr, nullptr, true, nullptr);
  shifted_mse_backward<float, float>(nothing, nullptr, true, nullptr, nullptr);
  EXPECT_EQ(cuda_on_cpu::launches(), 0U);
}

TEST(CudaShiftedMse, ReadsEachElementOnce) {
  cuda_on_cpu::reset_counters();
  const int64_t elements = 2 * 4 * 64 * 64;
  const Tensor prediction = wave({2, 4, 1, 64, 64}, 0.1, 2, at::kHalf),
               target = wave({2, 4, 1, 64, 64}, 0.9, 1, at::kHalf);
  shifted_mse({prediction, target, std::nullopt, 0}, true, nullptr);
  const uint64_t sums = static_cast<uint64_t>(shifted_mse_partial_sums(2, elements / 2));
  EXPECT_EQ(cuda_on_cpu::bytes_read(), 4 * elements + 8 * sums);
  EXPECT_EQ(cuda_on_cpu::bytes_written(), 8 * sums + 2 * sizeof(float));
}

}  // namespace
}  // namespace jointtuner::kernels::cuda
