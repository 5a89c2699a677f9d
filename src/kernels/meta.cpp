// The operators' steps on `meta` tensors, where a training step is run for its memory alone: results and buffers
// of the fused paths are allocated, nothing is drawn. (Without these the compositions would claim integer buffers for
// the dropout mask.)
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "glora_parts.h"

namespace jointtuner::kernels::meta {
namespace {

Tensor gate_hidden(const Tensor& hidden, const Tensor& /*logits*/, int64_t groups) {
  return at::empty({groups}, hidden.options().dtype(accumulation_dtype(hidden)));
}

void gate_hidden_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double) {}

void low_rank_update(const Tensor&, const Tensor&, const Tensor&, double, double, int64_t, int64_t) {}

void low_rank_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, double,
                       int64_t, int64_t) {}

Tensor add_noise(const Tensor& latents, const Tensor&, const Tensor&, const Tensor&) {
  return at::empty(latents.sizes(), latents.options());
}

std::tuple<Tensor, Tensor> add_noise_with_velocity(const Tensor& latents, const Tensor&, const Tensor&, const Tensor&) {
  return {at::empty(latents.sizes(), latents.options()), at::empty(latents.sizes(), latents.options())};
}

Tensor shifted_mse(const Tensor& prediction, const Tensor&, const std::optional<Tensor>&, double, bool per_item) {
  const auto options = prediction.options().dtype(accumulation_dtype(prediction));
  return per_item ? at::empty({prediction.size(0)}, options) : at::empty({}, options);
}

Tensor shifted_mse_backward(const Tensor&, const Tensor& prediction, const Tensor&, const std::optional<Tensor>&,
                            double) {
  return at::empty(prediction.sizes(), prediction.options());
}

std::tuple<Tensor, Tensor> guided_step(const Tensor& latents, const Tensor&, const std::optional<Tensor>&, double,
                                       double, double, std::optional<double>, double, double, double,
                                       const std::optional<Tensor>&, double, const std::optional<Tensor>&, double) {
  return {at::empty(latents.sizes(), latents.options()), at::empty(latents.sizes(), latents.options())};
}

Tensor& gated_update(Tensor& y, const Tensor&, const std::optional<Tensor>&, double, double, int64_t, int64_t) {
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, Meta, m) {
  m.impl("_gate_hidden", gate_hidden);
  m.impl("_gate_hidden_backward", gate_hidden_backward);
  m.impl("_low_rank_update", low_rank_update);
  m.impl("_low_rank_backward", low_rank_backward);
  m.impl("gated_update", gated_update);
  m.impl("add_noise", add_noise);
  m.impl("add_noise_with_velocity", add_noise_with_velocity);
  m.impl("shifted_mse", shifted_mse);
  m.impl("_shifted_mse_backward", shifted_mse_backward);
  m.impl("guided_step", guided_step);
}

}  // namespace jointtuner::kernels::meta
