#include "jointtuner/train/optimizer.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "jointtuner/base/shape.h"

namespace jointtuner::train {

AdamW::AdamW(Tensor parameters, const TrainOptions& options)
    : parameters_(std::move(parameters)),
      exp_avg_(at::zeros_like(parameters_)),
      exp_avg_sq_(at::zeros_like(parameters_)),
      step_(at::zeros({}, parameters_.options())),
      beta1_(options.beta1),
      beta2_(options.beta2),
      epsilon_(options.epsilon),
      weight_decay_(options.weight_decay) {}

void AdamW::step(const Tensor& gradient, double learning_rate) {
  check_shape(gradient, {parameters_.numel()}, "AdamW: gradient");
  step_.add_(1);
  at::_fused_adamw_({parameters_}, {gradient}, {exp_avg_}, {exp_avg_sq_}, {}, {step_}, learning_rate, beta1_, beta2_,
                    weight_decay_, epsilon_, /*amsgrad=*/false, /*maximize=*/false);
}

Safetensors AdamW::state() const {
  return {{{"exp_avg", exp_avg_}, {"exp_avg_sq", exp_avg_sq_}, {"step", step_}},
          {{"format", "jointtuner-adamw"}, {"version", "1"}}};
}

void AdamW::restore(const Safetensors& state) {
  const std::initializer_list<std::pair<const char*, Tensor*>> parts = {
      {"exp_avg", &exp_avg_}, {"exp_avg_sq", &exp_avg_sq_}, {"step", &step_}};
  for (const auto& [name, own] : parts) {
    const Tensor& saved = state.at(name);
    if (own->dim() == 0)
      check_shape(saved, {}, std::string("AdamW state: ") + name);
    else
      check_shape(saved, {own->numel()}, std::string("AdamW state: ") + name);
  }
  for (const auto& [name, own] : parts) own->copy_(state.at(name));
}

Tensor gradient_norm(const Tensor& gradient) { return at::linalg_vector_norm(gradient); }

void clip_gradient(Tensor gradient, double norm, double largest) {
  if (largest > 0) gradient.mul_(std::min(1.0, largest / (norm + 1e-6)));
}

}  // namespace jointtuner::train
