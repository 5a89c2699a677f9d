// shifted_mse: by hand, by central differences, as the composition that defines it, and on a GPU.
#include "jointtuner/kernels/shifted_mse.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "jointtuner/base/error.h"
#include "on_gpu.h"
#include "oracles.h"
#include "support/expect_error.h"

namespace jointtuner::kernels {
namespace {

TEST(ShiftedMse, HandWorkedExample) {
  // Two items of two pixels. Residuals: 1, -2 and 3, 0; with shifts (1, 1) and (-1, 2) at strength 2: 3, 0 and 1, 4.
  const Tensor prediction = numbers({1, 0, 5, 7}, {2, 1, 1, 1, 2}), target = numbers({0, 2, 2, 7}, {2, 1, 1, 1, 2});
  EXPECT_TRUE(shifted_mse(prediction, target, std::nullopt, 1).equal(numbers({(1 + 4 + 9) / 4.0}, {})));
  const Tensor shift = numbers({1, 1, -1, 2}, {2, 1, 1, 1, 2});
  EXPECT_TRUE(shifted_mse(prediction, target, shift, 2).equal(numbers({(9 + 0 + 1 + 16) / 4.0}, {})));
  EXPECT_TRUE(shifted_mse(prediction, target, shift, 2, LossReduction::per_item).equal(numbers({4.5, 8.5}, {2})));
}

TEST(ShiftedMse, FusedEqualsReferenceWithItsGradient) {
  for (const auto& [dtype, tolerance] : kTypes) {
    for (const auto reduction : {LossReduction::mean, LossReduction::per_item}) {
      const Tensor value = wave({3, 4, 5, 6, 7}, 0.1, 1, dtype), target = wave({3, 4, 5, 6, 7}, 0.9, 1, dtype);
      const Tensor shift = wave({3, 1, 1, 6, 7}, 0.5, 1, at::kFloat);
      const Tensor one = leaf(value), two = leaf(value);
      const Tensor found = shifted_mse(one, target, shift, 0.6, reduction);
      const Tensor expected = reference::shifted_mse(two, target, shift, 0.6, reduction);
      EXPECT_EQ(found.scalar_type(), dtype == at::kDouble ? at::kDouble : at::kFloat);
      EXPECT_LT(relative_difference(found, expected), 1e-6);
      EXPECT_LT(
          relative_difference(gradients(weighted_sum(found), {one})[0], gradients(weighted_sum(expected), {two})[0]),
          tolerance);
    }
  }
}

TEST(ShiftedMse, GradientIsCentralDifferences) {
  for (const bool shifted : {true, false}) {
    for (const auto reduction : {LossReduction::mean, LossReduction::per_item}) {
      const auto shift = shifted ? std::optional<Tensor>(wave({2, 1, 1, 2, 3}, 0.5)) : std::nullopt;
      check_gradients(
          [&](const std::vector<Tensor>& inputs) {
            return weighted_sum(shifted_mse(inputs[0], wave({2, 2, 2, 2, 3}, 0.9), shift, 0.6, reduction));
          },
          {wave({2, 2, 2, 2, 3}, 0.1)},
          fmt::format("shifted {} per item {}", shifted, reduction == LossReduction::per_item));
    }
  }
}

TEST(ShiftedMse, ZeroStrengthIsThePlainLossExactly) {
  const Tensor prediction = wave({2, 4, 3, 5, 5}, 0.1, 1, at::kFloat),
               target = wave({2, 4, 3, 5, 5}, 0.2, 1, at::kFloat);
  const Tensor shift = wave({2, 1, 1, 5, 5}, 0.3, 1, at::kFloat);
  EXPECT_TRUE(shifted_mse(prediction, target, shift, 0).equal(shifted_mse(prediction, target, std::nullopt, 1)));
}

/// The gradient is 2 r / count, here near 1e-8: below half's smallest number unless the loss scaler's factor is inside
/// the rounding.
TEST(ShiftedMse, ScaledHalfGradientDoesNotUnderflow) {
  const Tensor prediction = leaf(at::zeros({1, 4, 16, 24, 24}, at::kHalf)), target = prediction.detach() + 0.001;
  const Tensor loss = shifted_mse(prediction, target, std::nullopt, 0) * 65536;
  EXPECT_GT(largest(gradients(loss, {prediction})[0]), 1e-3);
}

TEST(ShiftedMse, ErrorsNameTheArgument) {
  const Tensor five = wave({2, 1, 1, 2, 2}, 0.1);
  EXPECT_ERROR(shifted_mse(five, five.narrow(0, 0, 1), std::nullopt, 1), Error, "[2, 1, 1, 2, 2]", "[1, 1, 1, 2, 2]");
  EXPECT_ERROR(shifted_mse(five, five, five.narrow(0, 0, 1), 1), Error, "prediction shift", "[2, 1, 1, 2, 2]");
  EXPECT_ERROR(shifted_mse(five, leaf(five), std::nullopt, 1), Error, "differentiable in prediction only");
}

TEST(ShiftedMse, SchemaIsTheDocumentedOne) {
  EXPECT_EQ(
      schema_text("shifted_mse"),
      "shifted_mse(Tensor prediction, Tensor target, Tensor? shift, float strength, bool per_item=False) -> Tensor");
}

TEST_F(OnGpu, ShiftedMseWithItsGradient) {
  for (const auto& [type, tolerance] : kTypes) {
    for (const auto reduction : {LossReduction::mean, LossReduction::per_item}) {
      const Tensor value = wave({2, 3, 2, 5, 9}, 0.1, 1, type), target = wave({2, 3, 2, 5, 9}, 0.9, 1, type);
      const Tensor shift = wave({2, 1, 1, 5, 9}, 0.5, 1, at::kFloat);
      const Tensor gpu = leaf(value.to(at::kCUDA)), cpu = leaf(value);
      const Tensor found = shifted_mse(gpu, target.to(at::kCUDA), shift.to(at::kCUDA), 0.6, reduction);
      const Tensor expected = shifted_mse(cpu, target, shift, 0.6, reduction);
      EXPECT_LE(relative_difference(found.cpu(), expected), 1e-6) << c10::toString(type);
      EXPECT_LE(relative_difference(gradients(found.sum(), {gpu})[0].cpu(), gradients(expected.sum(), {cpu})[0]),
                tolerance)
          << c10::toString(type);
    }
  }
}

}  // namespace
}  // namespace jointtuner::kernels
