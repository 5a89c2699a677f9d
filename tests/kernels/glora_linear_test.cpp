// What glora_linear computes: by hand, by central differences, and as the composition that defines it.
#include "jointtuner/kernels/glora_linear.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "glora_layer.h"
#include "src/kernels/glora_parts.h"

namespace jointtuner::kernels {
namespace {

TEST(GloraLinear, HandWorkedExample) {
  // K = 2, M = 1, R = 1, two tokens. x D^T = 3 and 7, times U = 2 gives 6 and 14. G = (0, 0) gives g = 1/2. scale 0.5.
  // Frozen: x W^T + b = 1*10 + 2*1 + 100 = 112 and 3*10 + 4*1 + 100 = 134. Sum: 112 + 0.25 * 6 = 113.5 and 134 + 0.25 *
  // 14 = 137.5.
  const Tensor x = numbers({1, 2, 3, 4}, {1, 2, 2});
  const FrozenLinear frozen{numbers({10, 1}, {1, 2}), numbers({100}, {1})};
  const Tensor down = numbers({1, 1}, {1, 2}), up = numbers({2}, {1, 1}), gate = numbers({0, 0}, {1, 2});
  const Tensor y = glora_linear(x, frozen, {down, up, gate}, {.scale = 0.5});
  EXPECT_TRUE(y.equal(numbers({113.5, 137.5}, {1, 2, 1})));
  const Tensor plain = glora_linear(x, frozen, {down, up}, {.scale = 0.5});
  EXPECT_TRUE(plain.equal(numbers({115, 141}, {1, 2, 1})));
}

TEST(GloraLinear, GatePoolsEachGroupByItself) {
  // x G^T = ln 3 for the first sample (sigmoid 3/4) and -ln 3 for the second (1/4); frozen part 0, update 1 everywhere.
  const double log3 = std::log(3.0);
  const Tensor x = numbers({1, log3, 1, log3, 1, -log3, 1, -log3}, {2, 2, 2});
  const FrozenLinear frozen{at::zeros({1, 2}, at::kDouble)};
  const GloraAdapter adapter{numbers({1, 0}, {1, 2}), numbers({1}, {1, 1}), numbers({0, 1}, {1, 2})};
  const Tensor by_sample = glora_linear(x, frozen, adapter, {.groups = 2});
  EXPECT_LT(largest(by_sample - numbers({0.75, 0.75, 0.25, 0.25}, {2, 2, 1})), 1e-15);
  const Tensor by_batch = glora_linear(x, frozen, adapter, {.groups = 1});
  EXPECT_LT(largest(by_batch - 0.5), 1e-15);
}

struct Options {
  bool gated, biased;
  int64_t groups;
  double dropout, scale;
  std::string text() const {
    return fmt::format("gated {} bias {} groups {} dropout {} scale {}", gated, biased, groups, dropout, scale);
  }
};

std::vector<Options> all_options() {
  std::vector<Options> result;
  for (const bool gated : {true, false})
    for (const bool biased : {true, false})
      for (const int64_t groups : {1, 2})
        for (const double dropout : {0.0, 0.3})
          for (const double scale : {1.0, 0.7}) result.push_back({gated, biased, groups, dropout, scale});
  return result;
}

Layer configured(Layer layer, const Options& options) {
  if (!options.gated) layer.gate.reset();
  if (!options.biased) layer.bias.reset();
  layer.groups = options.groups;
  layer.dropout = options.dropout;
  layer.scale = options.scale;
  return layer;
}

TEST(GloraLinear, GradientsAreCentralDifferences) {
  for (const Options& options : all_options()) {
    const Layer base = configured(Layer({2, 3, 5}, 4, 3), options);
    std::vector<Tensor> values{base.x, base.down, base.up};
    if (base.gate) values.push_back(*base.gate);
    check_gradients(
        [&](const std::vector<Tensor>& inputs) {
          Layer layer = base;
          layer.x = inputs[0];
          layer.down = inputs[1];
          layer.up = inputs[2];
          if (layer.gate) layer.gate = inputs[3];
          return weighted_sum(layer.fused());
        },
        values, options.text());
  }
}

void expect_like_reference(const Layer& base, double tolerance, const std::string& what) {
  Layer fused = base, composed = base;
  const auto fused_leaves = fused.require_gradients(), composed_leaves = composed.require_gradients();
  const Tensor y = fused.fused(), expected = composed.composed();
  EXPECT_EQ(y.scalar_type(), base.x.scalar_type());
  EXPECT_LT(relative_difference(y, expected), tolerance) << what;
  const auto found = gradients(weighted_sum(y.to(at::kDouble)), fused_leaves);
  const auto wanted = gradients(weighted_sum(expected.to(at::kDouble)), composed_leaves);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT(gradient_difference(found, wanted, i), tolerance) << what << ", gradient " << i;
    EXPECT_EQ(found[i].scalar_type(), fused_leaves[i].scalar_type()) << what << ", gradient " << i;
  }
}

/// 1200 tokens and 300 columns go through several cache blocks, thread shares and partial sums. Bounds: rounding of
/// sums over 1200 tokens.
TEST(GloraLinear, FusedEqualsReferenceAtManyShapes) {
  const std::vector<std::vector<int64_t>> shapes{{2, 3, 8}, {4, 300, 40}, {1200, 40}, {2, 2, 2, 6}, {6, 1, 8}};
  for (const auto& shape : shapes) {
    for (const double dropout : {0.0, 0.1}) {
      Layer layer(shape, 300, 5);
      layer.groups = 2;
      layer.dropout = dropout;
      expect_like_reference(layer, 1e-12, fmt::format("float64 dropout {} dims {}", dropout, shape.size()));
      Layer single(shape, 300, 5, at::kFloat);
      single.groups = 2;
      single.dropout = dropout;
      expect_like_reference(single, 1e-4, fmt::format("float32 dropout {} dims {}", dropout, shape.size()));
    }
  }
}

/// Half precision inputs with a float32 adapter, against the same numbers in float64. Bounds: 16 roundings of 2^-11
/// (half) and 2^-8 (bfloat16); the gate's gradient, a sum that partly cancels, takes a dozen of them, the rest three.
TEST(GloraLinear, HalfPrecisionBackboneWithFloatAdapter) {
  for (const auto& [dtype, tolerance] : {std::pair{at::kHalf, 7.8e-3}, std::pair{at::kBFloat16, 6.2e-2}}) {
    for (const double dropout : {0.0, 0.1}) {
      Layer layer({2, 40, 32}, 24, 4, dtype);
      layer.x.add_(0.5);  // else sums over tokens cancel, and rounding of the gradient that comes in decides
      Layer exact = layer;
      layer.widen_adapter();
      for (Tensor* tensor : {&exact.x, &exact.weight, &exact.down, &exact.up}) *tensor = tensor->to(at::kDouble);
      exact.bias = exact.bias->to(at::kDouble);
      exact.gate = exact.gate->to(at::kDouble);
      layer.groups = exact.groups = 2;
      layer.dropout = exact.dropout = dropout;
      const auto leaves = layer.require_gradients(), exact_leaves = exact.require_gradients();
      const Tensor y = layer.fused(), expected = exact.composed();
      EXPECT_EQ(y.scalar_type(), dtype);
      EXPECT_LT(relative_difference(y, expected), tolerance) << c10::toString(dtype) << " dropout " << dropout;
      const auto found = gradients(weighted_sum(y.to(at::kDouble)), leaves);
      const auto wanted = gradients(weighted_sum(expected), exact_leaves);
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_LT(gradient_difference(found, wanted, i), tolerance)
            << c10::toString(dtype) << " dropout " << dropout << ", gradient " << i;
        EXPECT_EQ(found[i].scalar_type(), leaves[i].scalar_type());
      }
    }
  }
}

/// Summed over many tokens in half precision the gradient of lora_up would be off by percents.
TEST(GloraLinear, AdapterGradientsOfHalfInputAreAccumulatedInFloat) {
  Layer half({1, 6000, 8}, 6, 2, at::kBFloat16);
  half.x = half.x.mul(0).add(1);
  half.weight.zero_();
  half.widen_adapter();
  half.gate.reset();
  half.down.fill_(0.125);  // hidden = 8 * 0.125 = 1 exactly
  const auto leaves = half.require_gradients();
  const auto grads = gradients(half.fused().to(at::kFloat).sum(), leaves);
  EXPECT_TRUE(grads[2].equal(at::zeros({6, 2}).add(6000)));
}

/// The composition is what a device without code of its own runs.
TEST(GloraLinear, StepsOfTheCpuEqualTheirComposition) {
  const int64_t tokens = 600, rank = 5, columns = 300, groups = 2;
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const double tolerance = dtype == at::kDouble ? 1e-13 : 1e-5;
    const Tensor logits = wave({tokens}, 0.1, 2, dtype), up = wave({columns, rank}, 0.4, 1, dtype);
    const Tensor hidden = wave({tokens, rank}, 0.2, 1, dtype).add(0.3), same_hidden = hidden.clone();
    const Tensor gate = parts::gate_hidden(hidden, logits, groups);
    EXPECT_LT(relative_difference(gate, composed::gate_hidden(same_hidden, logits, groups)), tolerance);
    EXPECT_LT(relative_difference(hidden, same_hidden), tolerance);
    const Tensor gradient = wave({tokens, rank + 1}, 0.6, 1, dtype).add(0.2), same_gradient = gradient.clone();
    parts::gate_hidden_backward({gradient, hidden, logits, gate, 0.7});
    composed::gate_hidden_backward({same_gradient, hidden, logits, gate, 0.7});
    EXPECT_LT(relative_difference(gradient.narrow(1, 0, rank), same_gradient.narrow(1, 0, rank)), tolerance);
    EXPECT_LT(relative_difference(gradient.select(1, rank), same_gradient.select(1, rank)), tolerance);
    for (const double dropout : {0.0, 0.1}) {
      const DropoutMask mask{dropout, 9, 4};
      const Tensor y = wave({tokens, columns}, 0.7, 1, dtype), same_y = y.clone();
      parts::low_rank_update({y, hidden, up, 0.7, mask});
      composed::low_rank_update({same_y, hidden, up, 0.7, mask});
      EXPECT_LT(relative_difference(y, same_y), tolerance);
      const Tensor grad_up = at::empty_like(up), same_grad_up = at::empty_like(up);
      parts::low_rank_backward({y, hidden, up, gradient.narrow(1, 0, rank), grad_up, 0.7, mask});
      composed::low_rank_backward({y, hidden, up, same_gradient.narrow(1, 0, rank), same_grad_up, 0.7, mask});
      EXPECT_LT(relative_difference(gradient.narrow(1, 0, rank), same_gradient.narrow(1, 0, rank)), tolerance);
      EXPECT_LT(relative_difference(grad_up, same_grad_up), tolerance);
    }
  }
}

}  // namespace
}  // namespace jointtuner::kernels
