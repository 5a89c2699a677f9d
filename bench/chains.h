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

/// Layers of real models, to be timed with adapters of rank kLayerRank.
struct LayerShape {
  const char* name;
  int64_t batch, tokens, in, out;
};
inline constexpr LayerShape kLayerShapes[] = {{"ZeroScope spatial to_q, 24x24, 4 frames", 4, 576, 320, 320},
                                              {"ZeroScope temporal to_q, 24x24, 16 frames", 576, 16, 320, 320},
                                              {"ZeroScope spatial to_q, 6x6, 16 frames", 16, 36, 1280, 1280},
                                              {"CogVideoX-2B to_q, 1024 tokens", 1, 1024, 1920, 1920},
                                              {"CogVideoX-2B ff out, 256 tokens", 1, 256, 7680, 1920}};
inline constexpr int64_t kLayerRank = 32;

/// A linear layer with a gated adapter on x [B, N, K], all of one dtype and device; x and the adapter ask for
/// gradients.
struct Layer {
  Layer(int64_t batch, int64_t tokens, int64_t in, int64_t out, int64_t rank, const at::TensorOptions& kind);

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
  bool fused_runs_here = true;  ///< false: on a GPU it calls products with float32 results that the CPU does not have
};

/// One pair an operator, backward passes of their own, on tensors of this dtype and device.
std::vector<Pair> pairs(const at::TensorOptions& kind);

}  // namespace jointtuner::bench
