// What a dry run computes with: tensors as large as the CPU's.
#include "src/forecast/dry_run.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <vector>

namespace jointtuner::forecast {
namespace {

using at::Tensor;
using Values = std::vector<Tensor>;

Tensor ones(at::Device device, at::IntArrayRef shape) { return at::ones(shape, at::TensorOptions(device)); }

/// The output and the gradients of the inputs.
Values differentiated(const std::function<Tensor(const Values&)>& op, Values inputs) {
  for (Tensor& input : inputs) input.requires_grad_(true);
  const Tensor output = op(inputs);
  Values all = torch::autograd::grad({output}, inputs, {at::ones_like(output)});
  all.push_back(output.detach());
  return all;
}

void expect_like_the_cpus(const char* what, const std::function<Values(at::Device)>& values) {
  const Values expected = values(at::kCPU), found = values(at::kMeta);
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].sizes(), expected[i].sizes()) << what << ", " << i;
    EXPECT_EQ(found[i].strides(), expected[i].strides()) << what << ", " << i;
    EXPECT_EQ(found[i].scalar_type(), expected[i].scalar_type()) << what << ", " << i;
  }
}

TEST(DryRun, GivesTensorsOfTheCpusShapesAndTypes) {
  const DryRun run(at::kCPU);
  expect_like_the_cpus("convolution", [](at::Device device) {
    return differentiated([](const Values& v) { return at::conv3d(v[0], v[1], v[2], {1, 2, 2}, {0, 1, 1}); },
                          {ones(device, {2, 4, 3, 8, 6}), ones(device, {5, 4, 2, 3, 3}), ones(device, {5})});
  });
  expect_like_the_cpus("group norm", [](at::Device device) {
    const auto [y, mean, rstd] = at::native_group_norm(ones(device, {2, 6, 5}), {}, {}, 2, 6, 5, 3, 1e-5);
    Values all = differentiated([](const Values& v) { return at::group_norm(v[0], 3, v[1], v[2]); },
                                {ones(device, {2, 6, 5}), ones(device, {6}), ones(device, {6})});
    all.insert(all.end(), {y, mean, rstd});
    return all;
  });
  expect_like_the_cpus("layer norm", [](at::Device device) {
    const auto [y, mean, rstd] = at::native_layer_norm(ones(device, {2, 3, 4}), {4}, {}, {}, 1e-5);
    Values all = differentiated([](const Values& v) { return at::layer_norm(v[0], {4}, v[1], v[2]); },
                                {ones(device, {2, 3, 4}), ones(device, {4}), ones(device, {4})});
    all.insert(all.end(), {y, mean, rstd});
    return all;
  });
  expect_like_the_cpus("attention", [](at::Device device) {
    const auto heads = [&](int64_t tokens) { return ones(device, {2, tokens, 3, 8}).transpose(1, 2); };
    const auto [y, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(heads(5), heads(7), heads(7));
    Values all = differentiated([](const Values& v) { return at::scaled_dot_product_attention(v[0], v[1], v[2]); },
                                {heads(5), heads(7), heads(7)});
    all.insert(all.end(), {y, logsumexp.contiguous()});  // whose layout is each kernel's own
    return all;
  });
}

TEST(DryRun, CountsBytesAndTheCardsBlocks) {
  DryRun run(at::kCPU);
  const Tensor small = ones(at::kMeta, {1});
  ones(at::kMeta, {129});  // 516 bytes, two blocks; freed at once
  EXPECT_EQ(run.live(), 4);
  EXPECT_EQ(run.peak(), 520);
  EXPECT_EQ(run.peak_in_blocks(), 3 * 512);
  run.start_peak();
  EXPECT_EQ(run.peak(), 4);
  EXPECT_EQ(run.peak_in_blocks(), 512);
}

TEST(DryRun, OnACardAttentionsBackwardPassHasItsWorkSpace) {
  const auto peak = [](at::Device described) {
    const DryRun run(described);
    differentiated([](const Values& v) { return at::scaled_dot_product_attention(v[0], v[0], v[0]); },
                   {ones(at::kMeta, {2, 3, 5, 8})});
    return run.peak();
  };
  // At least the query's gradient in float32, of 128 tokens and 32 channels.
  EXPECT_GE(peak(at::kCUDA) - peak(at::kCPU), 4 * 2 * 3 * 128 * 32);
}

TEST(DryRun, WhatComesBackToTheHostIsZero) {
  const DryRun run(at::kCPU);
  const Tensor values = ones(at::kMeta, {3}).mul(2);
  EXPECT_TRUE(at::equal(values.cpu(), at::zeros({3})));
  EXPECT_EQ(values.sum().item().toDouble(), 0);
}

}  // namespace
}  // namespace jointtuner::forecast
