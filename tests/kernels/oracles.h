// What the tests of this folder share: inputs by index formula, and gradients by central differences.
#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace jointtuner::kernels {

using at::Tensor;

/// In float64.
inline Tensor numbers(std::initializer_list<double> values, at::IntArrayRef shape) {
  return at::tensor(at::ArrayRef<double>(values.begin(), values.size()), at::kDouble).view(shape);
}

/// sin(1.7 i + phase) * amplitude, i the flat index: neither random nor special.
inline Tensor wave(at::IntArrayRef sizes, double phase, double amplitude = 1, at::ScalarType dtype = at::kDouble) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  const Tensor index = at::arange(count, at::TensorOptions().dtype(at::kDouble));
  return at::sin(index.mul(1.7).add(phase)).mul(amplitude).view(sizes).to(dtype);
}

inline double largest(const Tensor& tensor) { return tensor.abs().max().to(at::kDouble).item<double>(); }

/// A dtype and how far a result may be from the expected one, relative to the largest: its last rounding.
inline constexpr std::pair<at::ScalarType, double> kTypes[] = {
    {at::kDouble, 1e-14}, {at::kFloat, 1e-6}, {at::kHalf, 1e-3}, {at::kBFloat16, 8e-3}};

/// Largest difference relative to the largest value expected.
inline double relative_difference(const Tensor& found, const Tensor& expected) {
  const Tensor wanted = expected.to(at::kDouble);
  const double scale = largest(wanted);
  return largest(found.to(at::kDouble).sub(wanted)) / (scale > 0 ? scale : 1);
}

inline Tensor leaf(const Tensor& tensor) { return tensor.detach().clone().requires_grad_(true); }

/// d loss / d inputs by autograd, undefined results as they are.
inline std::vector<Tensor> gradients(const Tensor& loss, const std::vector<Tensor>& inputs) {
  return torch::autograd::grad({loss}, inputs, {}, std::nullopt, /*create_graph=*/false, /*allow_unused=*/true);
}

/// Largest difference of found[k] and expected[k], relative to the largest value of expected[k], or to 1 % of the
/// largest of all where that is more: a gate's gradient is a sum that may cancel nearly to 0.
inline double gradient_difference(const std::vector<Tensor>& found, const std::vector<Tensor>& expected, size_t k) {
  double scale = largest(expected[k]);
  for (const Tensor& other : expected) scale = std::max(scale, 0.01 * largest(other));
  return largest(found[k].to(at::kDouble).sub(expected[k].to(at::kDouble))) / scale;
}

/// Compares autograd's gradient of loss(inputs) with central differences, in float64. The step 1e-5 leaves about 1e-11
/// of truncation and 1e-10 of cancellation (losses are of order 10), so 1e-7 of the largest gradient is a safe bound.
inline void check_gradients(const std::function<Tensor(const std::vector<Tensor>&)>& loss,
                            const std::vector<Tensor>& values, const std::string& what) {
  std::vector<Tensor> inputs;
  for (const Tensor& value : values) inputs.push_back(leaf(value));
  const auto found = gradients(loss(inputs), inputs);
  std::vector<Tensor> expected;
  for (size_t k = 0; k < values.size(); ++k) {
    ASSERT_TRUE(found[k].defined()) << what << ": no gradient for input " << k;
    expected.push_back(values[k].new_zeros(values[k].sizes()));
    for (int64_t i = 0; i < values[k].numel(); ++i) {
      constexpr double kStep = 1e-5;
      std::vector<Tensor> moved;
      for (const Tensor& value : values) moved.push_back(value.clone());
      moved[k].view(-1)[i] += kStep;
      const double above = loss(moved).item<double>();
      moved[k].view(-1)[i] -= 2 * kStep;
      const double below = loss(moved).item<double>();
      expected[k].view(-1)[i] = (above - below) / (2 * kStep);
    }
  }
  for (size_t k = 0; k < values.size(); ++k)
    EXPECT_LT(gradient_difference(found, expected, k), 1e-7) << what << ": gradient of input " << k;
}

/// The schema of the operator jointtuner::name, without that prefix.
inline std::string schema_text(const std::string& name) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(("jointtuner::" + name).c_str(), "");
  return fmt::format("{}", c10::toString(op.schema())).substr(std::string("jointtuner::").size());
}

/// A loss that weighs every output element differently, with no gradient lost to cancellation.
inline Tensor weighted_sum(const Tensor& output) { return output.mul(wave(output.sizes(), 0.3).add(1)).sum(); }

}  // namespace jointtuner::kernels
