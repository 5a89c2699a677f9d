// An adapted layer as the tests of glora_linear call it.
#pragma once
#include <optional>
#include <vector>

#include "jointtuner/kernels/glora_linear.h"
#include "oracles.h"

namespace jointtuner::kernels {

/// One adapted layer with its input, all of one dtype, and how to call it.
struct Layer {
  Tensor x, weight, down, up;
  std::optional<Tensor> bias, gate;
  double scale = 1;
  int64_t groups = 1;
  double dropout = 0;
  int64_t seed = 0x123456789abcde;
  int64_t site = 5;

  Layer(at::IntArrayRef x_shape, int64_t out, int64_t rank, at::ScalarType dtype = at::kDouble)
      : x(wave(x_shape, 0.1, 1, dtype)),
        weight(wave({out, x_shape.back()}, 0.2, 0.5, dtype)),
        down(wave({rank, x_shape.back()}, 0.3, 0.5, dtype)),
        up(wave({out, rank}, 0.4, 0.5, dtype)),
        bias(wave({out}, 0.5, 1, dtype)),
        gate(wave({1, x_shape.back()}, 0.6, 0.5, dtype)) {}

  GloraOptions how() const { return {scale, groups, {dropout, seed, site}}; }
  Tensor fused() const { return glora_linear(x, {weight, bias}, {down, up, gate}, how()); }
  Tensor composed() const { return reference::glora_linear(x, {weight, bias}, {down, up, gate}, how()); }
  void widen_adapter() {
    down = down.to(at::kFloat);
    up = up.to(at::kFloat);
    if (gate) gate = gate->to(at::kFloat);
  }
  std::vector<Tensor> require_gradients() {
    for (Tensor* tensor : {&x, &down, &up}) *tensor = leaf(*tensor);
    if (gate) gate = leaf(*gate);
    std::vector<Tensor> leaves{x, down, up};
    if (gate) leaves.push_back(*gate);
    return leaves;
  }
};

}  // namespace jointtuner::kernels
