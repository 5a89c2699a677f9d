// The noise schedule of a backbone: betas and their cumulative products.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "jointtuner/diffusion/prediction_type.h"
#include "jointtuner/diffusion/schedule_constants.h"

namespace jointtuner::diffusion {

using at::Tensor;

/// alphas_cumprod[t] = product over s <= t of (1 - beta[s]), with beta
///
///   linear             beta_start .. beta_end, evenly
///   scaled_linear      (sqrt(beta_start) .. sqrt(beta_end), evenly)^2
///   squaredcos_cap_v2  min(1 - f((t+1)/T)/f(t/T), 0.999), f(u) = cos^2((u + 0.008)/1.008 * pi/2)   (arXiv 2102.09672)
///
/// then, in this order, as diffusers' CogVideoX schedulers do:
///
///   snr_shift k        a <- a / (k + (1 - k) a)
///   rescale_zero_snr   sqrt(a) shifted and scaled so that the last is 0 and the first stays
///                      (arXiv 2305.08891, algorithm 1)
///
/// Everything is computed in float64, as in diffusers' two CogVideoX schedulers (equal to 1e-11 relative). diffusers'
/// DDIM and DPM-Solver classes multiply in float32; their tables differ from this one by rounding (below 1e-5
/// relative).
class NoiseSchedule {
 public:
  /// Throws Error naming the constant that does not fit.
  explicit NoiseSchedule(const ScheduleConstants& constants);

  const ScheduleConstants& constants() const { return constants_; }
  PredictionType prediction_type() const { return prediction_type_; }
  int64_t train_timesteps() const { return constants_.train_timesteps; }

  /// The table [T], float32, on the CPU: what add_noise and training use.
  const Tensor& alphas_cumprod() const { return alphas_cumprod_; }

  /// One entry in float64. A negative timestep stands for "after the last step": 1, or the first entry when
  /// final_alpha_one is false. Throws Error for a timestep beyond the table.
  double alpha_cumprod(int64_t timestep) const;

  /// What DDIM clips each x0 to, if at all.
  std::optional<double> x0_clip() const;

 private:
  ScheduleConstants constants_;
  PredictionType prediction_type_;
  Tensor alphas_cumprod_float64_;
  Tensor alphas_cumprod_;
};

}  // namespace jointtuner::diffusion
