// AdamW (Loshchilov and Hutter, arXiv 1711.05101) over one flat parameter buffer, and gradient clipping.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "jointtuner/base/safetensors.h"
#include "jointtuner/train/options.h"

namespace jointtuner::train {

using at::Tensor;

/// With gradient g, step count t = 1, 2, ... and learning rate lr, in fp32 through one fused kernel
/// (at::_fused_adamw_):
///
///   p <- p - lr * weight_decay * p
///   m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
///   p <- p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
class AdamW {
 public:
  /// `parameters` fp32 [P], changed in place by step(); the state starts at zero on its device.
  AdamW(Tensor parameters, const TrainOptions& options);

  /// One update with `gradient` fp32 [P] on the parameters' device.
  void step(const Tensor& gradient, double learning_rate);

  /// exp_avg [P], exp_avg_sq [P], step [] (updates made so far, skipped steps not counted) fp32: all there is to know.
  Safetensors state() const;
  /// The reverse, exactly. Throws Error when a tensor is missing or has another shape.
  void restore(const Safetensors& state);

 private:
  Tensor parameters_;
  Tensor exp_avg_;
  Tensor exp_avg_sq_;
  Tensor step_;  ///< fp32 [], on the device: what the kernel asks for
  double beta1_;
  double beta2_;
  double epsilon_;
  double weight_decay_;
};

/// L2 norm of `gradient` (any shape, fp32), [] on its device. Not finite if and only if an element is not (or the
/// sum of squares overflows).
Tensor gradient_norm(const Tensor& gradient);

/// Multiplies `gradient` in place by min(1, largest / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; `largest` 0 =
/// no clipping.
void clip_gradient(Tensor gradient, double norm, double largest);

}  // namespace jointtuner::train
