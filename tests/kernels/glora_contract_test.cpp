// What callers of glora_linear rely on besides its values: frozen weights, silent adapters, repetition, graphs, errors.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <cmath>

#include "glora_layer.h"
#include "jointtuner/base/error.h"
#include "support/expect_error.h"

namespace jointtuner::kernels {
namespace {

TEST(GloraLinear, ZeroUpOrZeroScaleIsTheFrozenLayerBitForBit) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
    for (const double dropout : {0.0, 0.1}) {
      Layer layer({3, 50, 24}, 40, 6, dtype);
      layer.widen_adapter();
      if (dtype == at::kDouble) layer = Layer({3, 50, 24}, 40, 6);
      layer.dropout = dropout;
      const Tensor frozen = at::linear(layer.x, layer.weight, layer.bias);
      Layer silent = layer;
      silent.up = at::zeros_like(silent.up);
      EXPECT_TRUE(silent.fused().equal(frozen)) << c10::toString(dtype) << " dropout " << dropout;
      Layer off = layer;
      off.scale = 0;
      off.up = at::zeros_like(off.up).fill_(std::nan(""));  // not even read
      EXPECT_TRUE(off.fused().equal(frozen)) << c10::toString(dtype) << " dropout " << dropout;
      EXPECT_FALSE(layer.fused().equal(frozen));
    }
  }
}

TEST(GloraLinear, NoTokensGiveNoOutputAndZeroGradients) {
  Layer layer({2, 0, 3}, 4, 2);
  const auto leaves = layer.require_gradients();
  const Tensor y = layer.fused();
  EXPECT_EQ(y.sizes(), at::IntArrayRef({2, 0, 4}));
  const auto grads = gradients(y.sum(), leaves);
  for (size_t i = 1; i < grads.size(); ++i) EXPECT_EQ(largest(grads[i]), 0);
}

TEST(GloraLinear, ZeroScaleGivesZeroAdapterGradients) {
  Layer layer({1, 4, 3}, 2, 2);
  layer.scale = 0;
  const auto leaves = layer.require_gradients();
  const auto grads = gradients(weighted_sum(layer.fused()), leaves);
  for (size_t i = 1; i < grads.size(); ++i) EXPECT_EQ(largest(grads[i]), 0);
  EXPECT_GT(largest(grads[0]), 0);
}

TEST(GloraLinear, FrozenWeightsGetNoGradientAndStayAsTheyAre) {
  Layer layer({2, 3, 4}, 5, 2);
  auto leaves = layer.require_gradients();
  layer.weight = leaf(layer.weight);
  layer.bias = leaf(*layer.bias);
  const Tensor before = layer.weight.detach().clone();
  leaves.push_back(layer.weight);
  leaves.push_back(*layer.bias);
  const auto grads = gradients(weighted_sum(layer.fused()), leaves);
  EXPECT_FALSE(grads[4].defined());
  EXPECT_FALSE(grads[5].defined());
  EXPECT_TRUE(layer.weight.equal(before));
}

TEST(GloraLinear, AdapterTrainsWhenTheInputNeedsNoGradient) {
  Layer all({2, 3, 4}, 5, 2), adapter({2, 3, 4}, 5, 2);
  all.dropout = adapter.dropout = 0.2;
  const auto with_x = all.require_gradients();
  const auto wanted = gradients(weighted_sum(all.fused()), with_x);
  auto leaves = adapter.require_gradients();
  adapter.x = adapter.x.detach();
  leaves.erase(leaves.begin());
  const auto found = gradients(weighted_sum(adapter.fused()), leaves);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found[i].equal(wanted[i + 1]));
}

TEST(GloraLinear, SamplePoolingDoesNotSeeTheRestOfTheBatch) {
  Layer both({2, 64, 32}, 48, 4, at::kFloat), first = both, second = both;
  both.groups = 2;
  first.x = both.x.narrow(0, 0, 1);
  second.x = both.x.narrow(0, 1, 1);
  const Tensor y = both.fused();
  // Bound: matrix products of other sizes may sum in another order.
  EXPECT_LT(relative_difference(y.narrow(0, 0, 1), first.fused()), 1e-6);
  EXPECT_LT(relative_difference(y.narrow(0, 1, 1), second.fused()), 1e-6);
  both.groups = 1;
  EXPECT_GT(relative_difference(both.fused().narrow(0, 0, 1), first.fused()), 1e-5);
}

TEST(GloraLinear, StridedInputAndGradientEqualContiguousOnes) {
  Layer straight({3, 10, 8}, 6, 2), strided = straight;
  strided.x = straight.x.transpose(0, 1).contiguous().transpose(0, 1);
  ASSERT_FALSE(strided.x.is_contiguous());
  EXPECT_LT(relative_difference(strided.fused(), straight.fused()), 1e-14);
  const auto leaves = straight.require_gradients();
  const auto expanded = gradients(straight.fused().sum(), leaves);  // sum's gradient has strides 0
  const auto dense = gradients(straight.fused().mul(at::zeros({3, 10, 6}, at::kDouble) + 1).sum(), leaves);
  for (size_t i = 0; i < leaves.size(); ++i) EXPECT_LT(relative_difference(expanded[i], dense[i]), 1e-14);
}

TEST(GloraLinear, RepeatsItselfExactlyAndRunsWithoutAutograd) {
  Layer layer({2, 700, 48}, 96, 8, at::kFloat);
  layer.groups = 2;
  layer.dropout = 0.1;
  const auto leaves = layer.require_gradients();
  const Tensor y = layer.fused();
  EXPECT_TRUE(y.equal(layer.fused()));
  const auto once = gradients(weighted_sum(y), leaves), again = gradients(weighted_sum(layer.fused()), leaves);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(once[i].equal(again[i]));
  {
    const at::NoGradGuard no_grad;
    const Tensor quiet = layer.fused();
    EXPECT_FALSE(quiet.requires_grad());
    EXPECT_TRUE(quiet.equal(y));
  }
  const c10::InferenceMode inference;
  EXPECT_TRUE(layer.fused().equal(y));
}

TEST(GloraLinear, MetaTensorsGiveShapesForwardAndBackward) {
  Layer layer({2, 3, 8}, 5, 4, at::kFloat);
  for (Tensor* tensor : {&layer.x, &layer.weight, &layer.down, &layer.up}) *tensor = tensor->to(at::kMeta);
  layer.bias = layer.bias->to(at::kMeta);
  layer.gate = layer.gate->to(at::kMeta);
  layer.groups = 2;
  layer.dropout = 0.1;
  const auto leaves = layer.require_gradients();
  const Tensor y = layer.fused();
  EXPECT_EQ(y.sizes(), at::IntArrayRef({2, 3, 5}));
  const auto grads = gradients(y.sum(), leaves);
  for (size_t i = 0; i < grads.size(); ++i) EXPECT_EQ(grads[i].sizes(), leaves[i].sizes());
}

TEST(GloraLinear, GraphNodesFindItsSchema) {
  EXPECT_EQ(schema_text("glora_linear"),
            "glora_linear(Tensor x, Tensor weight, Tensor? bias, Tensor lora_down, Tensor lora_up, Tensor? lora_gate, "
            "float scale, int groups, float dropout, int dropout_seed, int site) -> Tensor");
  auto graph = std::make_shared<torch::jit::Graph>();
  std::vector<torch::jit::Value*> inputs;
  for (int i = 0; i < 6; ++i) inputs.push_back(graph->addInput());
  for (const c10::IValue& constant : std::vector<c10::IValue>{0.7, 2, 0.1, 42, 5})
    inputs.push_back(graph->insertConstant(constant));
  auto* node = graph->create(c10::Symbol::fromQualString("jointtuner::glora_linear"), inputs, 1);
  graph->insertNode(node);
  graph->registerOutput(node->output());
  Layer layer({2, 3, 5}, 4, 3);
  layer.scale = 0.7;
  layer.groups = 2;
  layer.dropout = 0.1;
  layer.seed = 42;
  const auto leaves = layer.require_gradients();
  torch::jit::Stack stack{layer.x, layer.weight, layer.bias, layer.down, layer.up, layer.gate};
  torch::jit::InterpreterState(torch::jit::Code(graph, "test")).run(stack);
  const Tensor y = stack[0].toTensor(), expected = layer.fused();
  EXPECT_TRUE(y.equal(expected));
  const auto found = gradients(weighted_sum(y), leaves), wanted = gradients(weighted_sum(expected), leaves);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found[i].equal(wanted[i]));
}

TEST(GloraLinear, ErrorsNameTheArgument) {
  const auto with = [](auto&& change) {
    Layer layer({2, 3, 8}, 5, 4, at::kFloat);
    change(layer);
    return layer.fused();
  };
  EXPECT_ERROR(with([](Layer& l) { l.down = l.down.narrow(1, 0, 7); }), Error,
               "glora_linear: expected lora_down of shape [4, 8]", "found [4, 7]");
  EXPECT_ERROR(with([](Layer& l) { l.up = l.up.t(); }), Error, "lora_up of shape [5, 4]", "found [4, 5]");
  EXPECT_ERROR(with([](Layer& l) { l.gate = l.gate->t(); }), Error, "lora_gate of shape [1, 8]");
  EXPECT_ERROR(with([](Layer& l) { l.groups = 3; }), Error, "groups that divide", "3 groups for x [2, 3, 8]");
  EXPECT_ERROR(with([](Layer& l) { l.dropout = 1; }), Error, "probability in [0, 1)");
  EXPECT_ERROR(with([](Layer& l) { l.weight = l.weight.to(at::kHalf); }), Error,
               "expected weight of shape [M, 8] in x's Float");
  EXPECT_ERROR(with([](Layer& l) { l.down = l.down.to(at::kDouble); }), Error, "lora_down in float32", "Double");
  Layer twice({1, 2, 3}, 2, 1);
  const auto leaves = twice.require_gradients();
  EXPECT_ERROR(torch::autograd::grad({twice.fused().sum()}, leaves, {}, std::nullopt, /*create_graph=*/true), Error,
               "differentiable once only");
}

}  // namespace
}  // namespace jointtuner::kernels
