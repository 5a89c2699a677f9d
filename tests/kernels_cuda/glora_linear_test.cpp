// The whole of glora_linear on the kernels: for the time of a test they take the places of the CPU's steps.
#include "jointtuner/kernels/glora_linear.h"

#include <fmt/format.h>
#include <torch/library.h>

#include "device_memory.h"
#include "src/kernels/cuda/glora_steps.h"

namespace jointtuner::kernels::cuda {
namespace {

Tensor gate_hidden_step(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  return gate_hidden(hidden, logits, groups, nullptr);
}
void gate_hidden_backward_step(const parts::GateHiddenBackward& step) { gate_hidden_backward(step, nullptr); }
void low_rank_update_step(const parts::LowRankUpdate& step) { low_rank_update(step, nullptr); }
void low_rank_backward_step(const parts::LowRankBackward& step) { low_rank_backward(step, nullptr); }

/// While it lives the CPU's steps are these; LibTorch warns once that it overrides.
class OnKernels {
 public:
  OnKernels() : library_(torch::Library::IMPL, "jointtuner", c10::DispatchKey::CPU, __FILE__, __LINE__) {
    library_.impl("_gate_hidden", gate_hidden_step);
    library_.impl("_gate_hidden_backward", parts::gate_hidden_backward_kernel<gate_hidden_backward_step>);
    library_.impl("_low_rank_update", parts::low_rank_update_kernel<low_rank_update_step>);
    library_.impl("_low_rank_backward", parts::low_rank_backward_kernel<low_rank_backward_step>);
  }

 private:
  torch::Library library_;
};

struct Layer {
  Tensor x, weight, bias, down, up;
  std::optional<Tensor> gate;
  int64_t groups;
  double dropout;

  Layer(at::ScalarType type, bool gated, int64_t pooling_groups, double dropout_probability)
      : x(wave({4, 35, 20}, 0.1, 1, type).add_(0.5)),
        weight(wave({70, 20}, 0.2, 0.5, type)),
        bias(wave({70}, 0.5, 1, type)),
        down(wave({5, 20}, 0.3, 0.5, at::kFloat)),
        up(wave({70, 5}, 0.4, 0.5, at::kFloat)),
        groups(pooling_groups),
        dropout(dropout_probability) {
    if (gated) gate = wave({1, 20}, 0.6, 0.5, at::kFloat);
  }
  /// The same numbers in float64.
  Layer exact() const {
    Layer result = *this;
    for (Tensor* tensor : {&result.x, &result.weight, &result.bias, &result.down, &result.up})
      *tensor = tensor->to(at::kDouble);
    if (gate) result.gate = gate->to(at::kDouble);
    return result;
  }
  std::vector<Tensor> require_gradients() {
    for (Tensor* tensor : {&x, &down, &up}) *tensor = leaf(*tensor);
    std::vector<Tensor> leaves{x, down, up};
    if (gate) leaves.push_back(*(gate = leaf(*gate)));
    return leaves;
  }
};

struct Result {
  Tensor y;
  std::vector<Tensor> gradients;
};

Result run(Layer layer, bool fused) {
  const auto leaves = layer.require_gradients();
  const auto call = fused ? glora_linear : reference::glora_linear;
  const Tensor y = call(layer.x, {layer.weight, layer.bias}, {layer.down, layer.up, layer.gate},
                        {.scale = 0.7, .groups = layer.groups, .dropout = {layer.dropout, 0x123456789abcde, 5}});
  return {y.detach(), gradients(weighted_sum(y.to(at::kDouble)), leaves)};
}

void expect_like_reference(const Layer& layer, double tolerance, const std::string& what) {
  const Result expected = run(layer.exact(), false);
  Result found, again;
  {
    const OnKernels on_kernels;
    cuda_on_cpu::reset_counters();
    found = run(layer, true);
    EXPECT_EQ(cuda_on_cpu::launches(), layer.gate ? 7U : 3U) << what;
    again = run(layer, true);
  }
  EXPECT_LT(relative_difference(found.y, expected.y), tolerance) << what;
  EXPECT_TRUE(again.y.equal(found.y)) << what;
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    EXPECT_LT(gradient_difference(found.gradients, expected.gradients, i), tolerance) << what << ", gradient " << i;
    EXPECT_TRUE(again.gradients[i].equal(found.gradients[i])) << what << ", gradient " << i;
  }
}

/// Bounds as for the CPU's steps: 16 roundings of 2^-24, 2^-11 and 2^-8.
TEST(CudaGloraLinear, ForwardAndBackwardEqualReference) {
  for (const auto& [type, tolerance] :
       {std::pair{at::kFloat, 1e-5}, std::pair{at::kHalf, 7.8e-3}, std::pair{at::kBFloat16, 6.2e-2}}) {
    for (const bool gated : {true, false})
      for (const int64_t groups : {1, 4})
        for (const double dropout : {0.0, 0.1})
          expect_like_reference(
              Layer(type, gated, groups, dropout), tolerance,
              fmt::format("{} gated {} groups {} dropout {}", c10::toString(type), gated, groups, dropout));
  }
}

TEST(CudaGloraLinear, StepsOfTheCpuAreBackAfterwards) {
  {
    const OnKernels on_kernels;
  }
  cuda_on_cpu::reset_counters();
  run(Layer(at::kFloat, true, 1, 0.1), true);
  EXPECT_EQ(cuda_on_cpu::launches(), 0U);
}

}  // namespace
}  // namespace jointtuner::kernels::cuda
