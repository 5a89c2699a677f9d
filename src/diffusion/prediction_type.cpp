#include "jointtuner/diffusion/prediction_type.h"

#include <fmt/format.h>

#include <cmath>

#include "jointtuner/base/error.h"
#include "jointtuner/kernels/add_noise.h"

namespace jointtuner::diffusion {

PredictionType parse_prediction_type(std::string_view name) {
  if (name == "epsilon") return PredictionType::epsilon;
  if (name == "v" || name == "v_prediction") return PredictionType::v;
  throw Error(fmt::format("prediction type: expected epsilon or v, found '{}'", name));
}

std::string name(PredictionType type) { return type == PredictionType::epsilon ? "epsilon" : "v"; }

Conversion conversion(PredictionType type, double alpha_cumprod) {
  const double signal = std::sqrt(alpha_cumprod), spread = std::sqrt(1 - alpha_cumprod);
  if (type == PredictionType::v) return {signal, -spread, spread, signal};
  if (signal == 0)
    throw Error(
        "epsilon prediction says nothing about x0 at a timestep of pure noise: a schedule rescaled to zero terminal "
        "SNR needs v prediction, or another timestep spacing");
  return {1 / signal, -spread / signal, 0, 1};
}

NoisyExample noisy_example(PredictionType type, const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                           const Tensor& alphas_cumprod) {
  if (type == PredictionType::epsilon) return {kernels::add_noise(latents, noise, timestep, alphas_cumprod), noise};
  const auto [noisy, velocity] = kernels::add_noise_with_velocity(latents, noise, timestep, alphas_cumprod);
  return {noisy, velocity};
}

}  // namespace jointtuner::diffusion
