// The work of each operator as PyTorch users write it, one ATen operator after the other, beside the operator itself;
// and the bytes that both move on paper: every operator's tensors, each once.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace jointtuner::bench {

using at::Tensor;
using Tensors = std::vector<Tensor>;

/// A linear layer with a gated adapter on x [B, N, K], all in one dtype; x and the adapter ask for gradients.
struct Layer {
  Layer(int64_t batch, int64_t tokens, int64_t in, int64_t out, int64_t rank, at::ScalarType dtype);

  /// linear(x, W, b) + scale * g * dropout(linear(linear(x, D), U)), g = sigmoid(linear(x, G)).mean(tokens).
  Tensor plain(double dropout) const;
  Tensor fused(double dropout) const;  ///< glora_linear
  Tensor frozen() const;               ///< linear(x, W, b)
  Tensors leaves() const { return {x, down, up, gate}; }

  Tensor x, weight, bias, down, up, gate;
};

struct Work {
  std::function<void()> run;  ///< on inputs that are there already
  double paper_bytes = 0;
};

struct Pair {
  std::string name;
  double elements = 0;  ///< of the result, by which bytes are divided
  Work chain, fused;
  bool fused_runs_here = true;  ///< false: on a card it calls products with float32 results that the CPU does not have
};

/// One pair an operator, backward passes of their own.
std::vector<Pair> pairs(at::ScalarType dtype);

}  // namespace jointtuner::bench
