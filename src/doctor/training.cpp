#include "training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/train/optimizer.h"
#include "kernels.h"

namespace jointtuner::doctor {
namespace {

constexpr int64_t kChannels = 8, kWidth = 96, kRank = 4;
constexpr double kDropout = 0.1, kStrength = 0.5, kLearningRate = 0.02;

Tensor draw(at::IntArrayRef sizes, const char* name) { return normal_draw(sizes, generator(0, 0, name)); }

/// Frozen weights [M, K] of one layer, rounded to a dtype.
Tensor frozen(int64_t out, int64_t in, const char* name, at::ScalarType weights) {
  return draw({out, in}, name).mul(1 / std::sqrt(static_cast<double>(in))).to(weights);
}

/// The layers, and one batch of a clip or of a picture.
struct Problem {
  Problem(at::Device device, at::ScalarType weights, at::ScalarType activations)
      : first(frozen(kWidth, kChannels, "first", weights).to(device, activations)),
        second(frozen(kChannels, kWidth, "second", weights).to(device, activations)),
        adapters({{"first", "doctor", kChannels, kWidth}, {"second", "doctor", kWidth, kChannels}}, kRank,
                 /*gated=*/true, device),
        alphas_cumprod(diffusion::NoiseSchedule({}).alphas_cumprod().to(device)),
        dtype(activations) {
    adapters.initialize(0, "uniform");
    adapters.set_requires_grad(true);
  }

  /// latents [B,C,F,H,W] -> prediction, channel by channel through both layers.
  Tensor prediction(const TrainingOps& ops, const Tensor& noisy, int64_t dropout_seed) const {
    const auto adapted = [&](const Tensor& x, const Tensor& weight, size_t site) {
      const adapter::SiteAdapter& a = adapters.at(site);
      return ops.linear(x, {weight}, {a.down, a.up, a.gate},
                        {.groups = x.size(0), .dropout = {kDropout, dropout_seed, static_cast<int64_t>(site)}});
    };
    const Tensor tokens = noisy.movedim(1, 4).flatten(1, 3).to(dtype);
    const Tensor hidden = at::tanh(adapted(tokens, first, 0));
    return adapted(hidden, second, 1).to(noisy.scalar_type()).unflatten(1, noisy.sizes().slice(2)).movedim(4, 1);
  }

  Tensor first, second;
  adapter::AdapterSet adapters;
  Tensor alphas_cumprod;
  at::ScalarType dtype;
};

/// One item's loss; what it draws is the same in every step, so that the loss must fall.
Tensor item_loss(const TrainingOps& ops, const Problem& problem, bool clip, int64_t step) {
  const at::TensorOptions latents_like =
      problem.alphas_cumprod.options().dtype(problem.dtype == at::kDouble ? at::kDouble : at::kFloat);
  const auto placed = [&](const Tensor& drawn) { return drawn.to(latents_like.device(), latents_like.dtype()); };
  const std::vector<int64_t> shape{1, kChannels, clip ? 5 : 1, 12, 12};
  const Tensor noise = placed(draw(shape, clip ? "clip noise" : "picture noise"));
  const Tensor timestep = at::tensor({clip ? 600 : 300}, at::kLong).to(latents_like.device());
  const Tensor noisy =
      ops.add_noise(placed(draw(shape, clip ? "clip" : "picture")), noise, timestep, problem.alphas_cumprod);
  const Tensor prediction = problem.prediction(ops, noisy, step);
  const Tensor shift = placed(draw({1, 1, 1, 12, 12}, "shift"));
  return ops.loss(prediction, noise, clip ? std::optional<Tensor>(shift) : std::nullopt, clip ? kStrength : 0,
                  kernels::LossReduction::mean);
}

}  // namespace

TrainingOps reference_ops() {
  return {kernels::reference::glora_linear, kernels::reference::add_noise, kernels::reference::shifted_mse};
}

std::vector<double> training_losses(const TrainingOps& ops, at::Device device, at::ScalarType weights,
                                    at::ScalarType activations, int64_t steps) {
  Problem problem(device, weights, activations);
  train::AdamW optimizer(problem.adapters.flat(), train::TrainOptions{});
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) {
    problem.adapters.zero_gradient();
    const Tensor loss = item_loss(ops, problem, false, step) + item_loss(ops, problem, true, step);
    loss.backward();
    optimizer.step(problem.adapters.flat_gradient(), kLearningRate);
    losses.push_back(loss.item().toDouble());
  }
  return losses;
}

Row training_row(const TrainingOps& ops, at::Device device, at::ScalarType dtype, bool quick) {
  const int64_t steps = quick ? 4 : 12;
  const auto expected = training_losses(reference_ops(), at::kCPU, dtype, at::kDouble, steps);
  const auto found = training_losses(ops, device, dtype, dtype, steps);
  Row row{.part = "training", .check = fmt::format("{} steps, two layers", steps), .limit = 1e-5};
  row.on = fmt::format("{} {}", device.str(), c10::getDtypeNames(dtype).first);
  if (dtype != at::kFloat) row.limit = std::ldexp(1, dtype == at::kHalf ? -11 : -8);  // one rounding: a loss is a mean
  row.error = largest_difference({at::tensor(found, at::kDouble)}, {at::tensor(expected, at::kDouble)});
  row.found = fmt::format("loss {:.4f} -> {:.4f}", found.front(), found.back());
  row.verdict = found.back() < found.front() ? judged(*row.error, *row.limit) : Verdict::wrong;
  return row;
}

}  // namespace jointtuner::doctor
