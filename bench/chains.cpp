#include "chains.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/native_dropout.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <memory>

#include "jointtuner/base/generator.h"
#include "jointtuner/kernels/add_noise.h"
#include "jointtuner/kernels/gated_update.h"
#include "jointtuner/kernels/glora_linear.h"
#include "jointtuner/kernels/guided_step.h"
#include "jointtuner/kernels/shifted_mse.h"

namespace jointtuner::bench {
namespace {

constexpr double kScale = 0.7, kDropout = 0.1, kStrength = 0.5;
constexpr int64_t kSeed = 11, kSite = 3, kBatch = 2;
constexpr int64_t kTokens = 2048, kWidth = 320, kRank = 32;                  // a sample's tokens; K = M
constexpr int64_t kChannels = 4, kFrames = 16, kHeight = 48, kBreadth = 48;  // of the latents

Tensor draw(at::IntArrayRef sizes, const char* name, const at::TensorOptions& kind) {
  return normal_draw(sizes, generator(0, 0, name)).to(kind);
}

Tensor latents(const char* name, const at::TensorOptions& kind) {
  return draw({kBatch, kChannels, kFrames, kHeight, kBreadth}, name, kind);
}

/// A backward pass alone: the forward pass runs here, and its graph is kept.
std::function<void()> backward(const Tensor& output, const Tensors& leaves) {
  const Tensor arriving = draw(output.sizes(), "gradient", output.options());
  return [=] { torch::autograd::grad({output}, leaves, {arriving}, /*retain_graph=*/true); };
}

// --- glora_linear. In bytes: x and y of T tokens, hidden [T,R], logits [T], W, b, D, U, G, and the dropout mask.

struct LayerBytes {
  explicit LayerBytes(at::ScalarType dtype) : element(static_cast<double>(c10::elementSize(dtype))) {}
  double element;
  double tokens = kBatch * kTokens;
  double x = tokens * kWidth * element, y = x, hidden = tokens * kRank * element, logits = tokens * element;
  double weight = static_cast<double>(kWidth * kWidth) * element, bias = kWidth * element;
  double down = kRank * kWidth * element, up = down, gate = bias;
  double mask = tokens * kWidth;
};

double chain_forward(const LayerBytes& b, bool dropout) {
  const double frozen = b.x + b.weight + b.bias + b.y;
  const double update = b.x + b.down + b.hidden + b.hidden + b.up + b.y;
  const double dropped = dropout ? b.y + b.y + b.mask : 0;
  const double gate = b.x + b.gate + b.logits + 2 * b.logits + b.logits;  // linear, sigmoid, mean
  const double gated = 2 * b.y, scaled = 2 * b.y, sum = 3 * b.y;
  return frozen + update + dropped + gate + gated + scaled + sum;
}

double fused_forward(const LayerBytes& b) {
  const double frozen = b.x + b.weight + b.bias + b.y;
  const double hidden = b.x + b.down + b.hidden, logits = b.x + b.gate + b.logits;
  const double gated = b.logits + 2 * b.hidden;
  const double update = b.hidden + b.up + 2 * b.y;
  return frozen + hidden + logits + gated + update;
}

double chain_backward(const LayerBytes& b, bool dropout) {
  const double frozen = b.y + b.weight + b.x;
  const double scaled = 2 * b.y;
  const double gated = 2 * b.y, to_gate = 3 * b.y + b.y;  // times g; times u, then summed
  const double dropped = dropout ? b.y + b.mask + b.y : 0;
  const double up = b.y + b.hidden + b.up, hidden = b.y + b.up + b.hidden;
  const double down = b.hidden + b.x + b.down, x_of_down = b.hidden + b.down + b.x;
  const double sigmoid = 3 * b.logits + b.logits;  // spread over tokens, slope
  const double gate = b.logits + b.x + b.gate, x_of_gate = b.logits + b.gate + b.x;
  const double sums = 2 * 3 * b.x;  // three gradients of x
  return frozen + scaled + gated + to_gate + dropped + up + hidden + down + x_of_down + sigmoid + gate + x_of_gate +
         sums;
}

double fused_backward(const LayerBytes& b) {
  const double wide = 4 / b.element;              // gradients of the adapter are in float32
  const double p = wide * (b.hidden + b.logits);  // dL/d hidden and dL/d logits
  const double frozen = b.y + b.weight + b.x;
  const double low_rank = b.y + b.hidden + b.up + wide * b.hidden + wide * b.up;
  const double gate = 2 * p + b.hidden + b.logits;
  const double x = p + b.down + b.gate + 2 * b.x, down = p + b.x + wide * (b.down + b.gate);
  return frozen + low_rank + gate + x + down;
}

Pair forward_pair(const Layer& layer, double dropout) {
  const LayerBytes bytes(layer.x.scalar_type());
  return {dropout > 0 ? "glora_linear, dropout" : "glora_linear",
          bytes.y / bytes.element,
          {[=] { layer.plain(dropout); }, chain_forward(bytes, dropout > 0)},
          {[=] { layer.fused(dropout); }, fused_forward(bytes)}};
}

Pair backward_pair(const Layer& layer, double dropout) {
  const LayerBytes bytes(layer.x.scalar_type());
  return {dropout > 0 ? "glora_linear backward, dropout" : "glora_linear backward",
          bytes.y / bytes.element,
          {backward(layer.plain(dropout), layer.leaves()), chain_backward(bytes, dropout > 0)},
          {backward(layer.fused(dropout), layer.leaves()), fused_backward(bytes)},
          /*fused_runs_here=*/dropout > 0 || layer.x.scalar_type() == at::kFloat};
}

// --- The operators on latents or on one update: n whole tensors of `element` bytes an element.

Pair pointwise(const char* name, const Tensor& like, double chain, double fused, std::function<void()> run_chain,
               std::function<void()> run_fused, double extra_chain_bytes = 0) {
  const double bytes = static_cast<double>(like.nbytes());
  return {name,
          static_cast<double>(like.numel()),
          {std::move(run_chain), chain * bytes + extra_chain_bytes},
          {std::move(run_fused), fused * bytes}};
}

/// Dropout 2 and a mask, gate 2, scale 2, sum 3; fused: update in, y in and out.
Pair update_pair(const at::TensorOptions& kind) {
  const Tensor y = draw({kBatch, kTokens, kWidth}, "y", kind), update = draw(y.sizes(), "update", kind);
  const Tensor gate = draw({kBatch}, "gate", kind.dtype(at::kFloat)).sigmoid();
  const Tensor half_gate = gate.to(kind).view({kBatch, 1, 1});
  const auto chain = [=] {
    const Tensor dropped = std::get<0>(at::native_dropout(update, kDropout, true));
    return y + dropped * half_gate * kScale;
  };
  Tensor target = y.clone();
  const auto fused = [=]() mutable { kernels::gated_update(target, update, gate, kScale, {kDropout, kSeed, kSite}); };
  return pointwise("gated_update, dropout", y, 9, 3, chain, fused, static_cast<double>(y.numel()));
}

struct LossInputs {
  explicit LossInputs(const at::TensorOptions& kind)
      : prediction(latents("prediction", kind).requires_grad_(true)),
        target(latents("target", kind)),
        shift(draw({kBatch, 1, 1, kHeight, kBreadth}, "shift", kind)) {}
  Tensor chain() const { return (prediction + shift * kStrength - target).square().mean(); }
  Tensor fused() const { return kernels::shifted_mse(prediction, target, shift, kStrength); }
  Tensor prediction, target, shift;
};

/// Shift 2, target 3, square 2, mean 1; fused: two in.
Pair loss_pair(const at::TensorOptions& kind) {
  const LossInputs in(kind);
  return pointwise("shifted_mse", in.target, 8, 2, [=] { in.chain(); }, [=] { in.fused(); });
}

/// Spread 1, r to the first power 2, doubled 2, product 3; fused: two in, one out.
Pair loss_backward_pair(const at::TensorOptions& kind) {
  const LossInputs in(kind);
  return pointwise("shifted_mse backward", in.target, 8, 3, backward(in.chain(), {in.prediction}),
                   backward(in.fused(), {in.prediction}));
}

/// DDIM with guidance 7.5: guidance 3 + 2 + 3, x0 2 + 3 + 2, clip 2, next 2 + 2 + 3; fused: three in, two out.
Pair step_pair(const at::TensorOptions& kind) {
  const Tensor x = latents("latents", kind), conditional = latents("conditional", kind);
  const Tensor unconditional = latents("unconditional", kind);
  const double a = 0.4, next_a = 0.5;
  const auto chain = [=] {
    const Tensor predicted = unconditional + (conditional - unconditional) * 7.5;
    const Tensor x0 = at::clamp((x - predicted * std::sqrt(1 - a)) / std::sqrt(a), -3, 3);
    return x0 * std::sqrt(next_a) + predicted * std::sqrt(1 - next_a);
  };
  const kernels::StepCoefficients numbers{1 / std::sqrt(a),      -std::sqrt((1 - a) / a), 3.0, 0,
                                          std::sqrt(1 - next_a), std::sqrt(next_a),       0,   0};
  const auto fused = [=] { kernels::guided_step(x, {conditional, unconditional, 7.5}, numbers); };
  return pointwise("guided_step", x, 24, 5, chain, fused);
}

/// Each product 2, each sum 3; fused: two in, one or two out.
std::vector<Pair> noise_pairs(const at::TensorOptions& kind) {
  const Tensor x0 = latents("latents", kind), noise = latents("noise", kind);
  const Tensor timestep = at::arange(kBatch, kind.dtype(at::kLong)).mul(300).add(17);
  const Tensor table = at::arange(1, 1001, kind.dtype(at::kFloat)).mul(-0.003).exp();
  const auto amplitudes = [=] {
    const Tensor a = table.index_select(0, timestep).view({kBatch, 1, 1, 1, 1});
    return std::pair{a.sqrt().to(kind), (1 - a).sqrt().to(kind)};
  };
  const auto noisy = [=] {
    const auto [signal, sigma] = amplitudes();
    return x0 * signal + noise * sigma;
  };
  const auto both = [=] {
    const auto [signal, sigma] = amplitudes();
    return std::pair{x0 * signal + noise * sigma, noise * signal - x0 * sigma};
  };
  return {pointwise("add_noise", x0, 7, 3, noisy, [=] { kernels::add_noise(x0, noise, timestep, table); }),
          pointwise("add_noise_with_velocity", x0, 14, 4, both,
                    [=] { kernels::add_noise_with_velocity(x0, noise, timestep, table); })};
}

}  // namespace

Layer::Layer(int64_t batch, int64_t tokens, int64_t in, int64_t out, int64_t rank, const at::TensorOptions& kind)
    : x(draw({batch, tokens, in}, "x", kind)),
      weight(draw({out, in}, "weight", kind).div(std::sqrt(in))),
      bias(draw({out}, "bias", kind)),
      down(draw({rank, in}, "down", kind).div(std::sqrt(in))),
      up(draw({out, rank}, "up", kind).div(std::sqrt(rank))),
      gate(draw({1, in}, "gate", kind).div(std::sqrt(in))) {
  for (Tensor* leaf : {&x, &down, &up, &gate}) leaf->requires_grad_(true);
}

Tensor Layer::plain(double dropout) const {
  const Tensor y = frozen();
  Tensor update = at::linear(at::linear(x, down), up);
  if (dropout > 0) update = std::get<0>(at::native_dropout(update, dropout, true));
  const Tensor g = at::sigmoid(at::linear(x, gate)).mean({1}, /*keepdim=*/true);
  return y + update * g * kScale;
}

Tensor Layer::fused(double dropout) const {
  return kernels::glora_linear(x, {weight, bias}, {down, up, gate}, {kScale, x.size(0), {dropout, kSeed, kSite}});
}

Tensor Layer::frozen() const { return at::linear(x, weight, bias); }

std::vector<Pair> pairs(const at::TensorOptions& kind) {
  const Layer layer(kBatch, kTokens, kWidth, kWidth, kRank, kind);
  std::vector<Pair> all{forward_pair(layer, 0),   forward_pair(layer, kDropout),
                        backward_pair(layer, 0),  backward_pair(layer, kDropout),
                        update_pair(kind),        loss_pair(kind),
                        loss_backward_pair(kind), step_pair(kind)};
  for (Pair& pair : noise_pairs(kind)) all.push_back(std::move(pair));
  return all;
}

}  // namespace jointtuner::bench
