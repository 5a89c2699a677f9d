#include "jointtuner/diffusion/sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/diffusion/timesteps.h"
#include "jointtuner/kernels/guided_step.h"

namespace jointtuner::diffusion {
namespace {

using kernels::GuidedPrediction;
using kernels::StepCoefficients;
using kernels::StepResult;

void check_prediction(const Tensor& prediction, const Tensor& latents, const char* which, int64_t timestep) {
  if (!prediction.defined()) {
    throw Error(fmt::format("sampling: the denoiser gave no {} prediction at timestep {}", which, timestep));
  }
  if (prediction.sizes() != latents.sizes()) {
    throw Error(fmt::format("sampling: expected a {} prediction like the latents {}, found {} at timestep {}", which,
                            shape_text(latents.sizes()), shape_text(prediction.sizes()), timestep));
  }
}

GuidedPrediction predict(const Denoise& denoise, const Tensor& latents, int64_t timestep, double guidance_scale) {
  const DenoiserOutput output = denoise(latents, timestep);
  check_prediction(output.conditional, latents, "conditional", timestep);
  if (!needs_unconditional(guidance_scale)) return {output.conditional, std::nullopt, 1};
  check_prediction(output.unconditional, latents, "unconditional", timestep);
  return {output.conditional, output.unconditional, guidance_scale};
}

void check_settings(const char* sampler, const Tensor& latents, const SamplerSettings& settings, double largest_eta) {
  if (!latents.defined() || !latents.is_floating_point())
    throw Error(fmt::format("{}: expected floating latents", sampler));
  if (!std::isfinite(settings.guidance_scale)) {
    throw Error(fmt::format("{}: expected a finite guidance scale, found {}", sampler, settings.guidance_scale));
  }
  if (!(settings.eta >= 0 && settings.eta <= largest_eta)) {
    throw Error(fmt::format("{}: expected eta {}, found {}", sampler,
                            largest_eta == 0 ? "0 (it is deterministic)" : "from 0 to 1", settings.eta));
  }
  if (settings.eta > 0 && !settings.noise)
    throw Error(fmt::format("{}: eta {} needs a source of noise", sampler, settings.eta));
}

void report(const SamplerSettings& settings, size_t done, const std::vector<int64_t>& timesteps,
            const StepResult& result) {
  if (!settings.on_step) return;
  settings.on_step({static_cast<int64_t>(done) + 1, static_cast<int64_t>(timesteps.size()), timesteps[done],
                    result.next, result.x0});
}

/// DDIM's step from alphas_cumprod `a` to `next_a`, either way in time.
StepCoefficients ddim_coefficients(const NoiseSchedule& schedule, double a, double next_a, double eta) {
  const Conversion convert = conversion(schedule.prediction_type(), a);
  // At a = 1 nothing is noise yet (inversion's first step), and the ratio below would be 0 / 0; eta is 0 there.
  const double sigma = eta == 0 ? 0 : eta * std::sqrt((1 - next_a) / (1 - a)) * std::sqrt(1 - a / next_a);
  const double direction = std::sqrt(1 - next_a - sigma * sigma);
  StepCoefficients c;
  c.x0_from_latents = convert.x0_from_latents;
  c.x0_from_prediction = convert.x0_from_prediction;
  c.x0_clip = schedule.x0_clip();
  c.from_latents = direction * convert.epsilon_from_latents;
  c.from_prediction = direction * convert.epsilon_from_prediction;
  c.from_x0 = std::sqrt(next_a);
  c.from_noise = sigma;
  return c;
}

/// alpha = sqrt(a), sigma = sqrt(1 - a) and lambda = log(alpha / sigma) of a noise level.
struct NoiseLevel {
  double alpha, sigma, lambda;
};

NoiseLevel noise_level(const NoiseSchedule& schedule, int64_t timestep) {
  // A zero-SNR schedule starts at lambda = -infinity; like diffusers, take the smallest half precision number instead.
  const double a = std::max(schedule.alpha_cumprod(timestep), std::ldexp(1.0, -24));
  return {std::sqrt(a), std::sqrt(1 - a), 0.5 * std::log(a / (1 - a))};
}

}  // namespace

Denoise one_by_one(std::function<Tensor(const Tensor&, int64_t, Condition)> predict_one, double guidance_scale) {
  return [predict_one = std::move(predict_one), guidance_scale](const Tensor& latents, int64_t timestep) {
    DenoiserOutput output;
    if (needs_unconditional(guidance_scale))
      output.unconditional = predict_one(latents, timestep, Condition::unconditional);
    output.conditional = predict_one(latents, timestep, Condition::conditional);
    return output;
  };
}

Tensor sample_ddim(const NoiseSchedule& schedule, const Denoise& denoise, const Tensor& latents,
                   const SamplerSettings& settings) {
  check_settings("DDIM", latents, settings, 1);
  const at::NoGradGuard no_grad;
  const auto timesteps = ddim_timesteps(schedule, settings.steps);
  const int64_t stride = schedule.train_timesteps() / settings.steps;
  Tensor x = latents;
  for (size_t n = 0; n < timesteps.size(); ++n) {
    const int64_t timestep = timesteps[n];
    const double a = schedule.alpha_cumprod(timestep), next_a = schedule.alpha_cumprod(timestep - stride);
    const StepCoefficients coefficients = ddim_coefficients(schedule, a, next_a, settings.eta);
    const GuidedPrediction prediction = predict(denoise, x, timestep, settings.guidance_scale);
    const auto noise = settings.eta > 0 ? std::optional<Tensor>(settings.noise(static_cast<int64_t>(n))) : std::nullopt;
    const StepResult result = kernels::guided_step(x, prediction, coefficients, std::nullopt, noise);
    x = result.next;
    report(settings, n, timesteps, result);
  }
  return x;
}

Tensor sample_dpmpp_2m(const NoiseSchedule& schedule, const Denoise& denoise, const Tensor& latents,
                       const SamplerSettings& settings) {
  check_settings("DPM-Solver++ 2M", latents, settings, 0);
  const at::NoGradGuard no_grad;
  const auto timesteps = dpmpp_2m_timesteps(schedule, settings.steps);
  Tensor x = latents, previous_x0;
  double previous_h = 0;
  for (size_t n = 0; n < timesteps.size(); ++n) {
    const NoiseLevel now = noise_level(schedule, timesteps[n]);
    const Conversion convert = conversion(schedule.prediction_type(), now.alpha * now.alpha);
    StepCoefficients c;
    c.x0_from_latents = convert.x0_from_latents;
    c.x0_from_prediction = convert.x0_from_prediction;
    std::optional<Tensor> before;
    if (n + 1 == timesteps.size()) {
      c.from_x0 = 1;  // to sigma 0, where only x0 is left
    } else {
      const NoiseLevel next = noise_level(schedule, timesteps[n + 1]);
      const double h = next.lambda - now.lambda, gain = -next.alpha * std::expm1(-h);
      const double slope = n == 0 ? 0 : 0.5 * h / previous_h;  // 1 / (2 r)
      c.from_latents = next.sigma / now.sigma;
      c.from_x0 = gain * (1 + slope);
      c.from_previous_x0 = -gain * slope;
      if (n > 0) before = previous_x0;
      previous_h = h;
    }
    const GuidedPrediction prediction = predict(denoise, x, timesteps[n], settings.guidance_scale);
    const StepResult result = kernels::guided_step(x, prediction, c, before);
    x = result.next;
    previous_x0 = result.x0;
    report(settings, n, timesteps, result);
  }
  return x;
}

Sampler parse_sampler(std::string_view name) {
  if (name == "ddim") return Sampler::ddim;
  if (name == "dpmpp_2m") return Sampler::dpmpp_2m;
  throw Error(fmt::format("sampler: expected ddim or dpmpp_2m, found '{}'", name));
}

std::string name(Sampler sampler) { return sampler == Sampler::ddim ? "ddim" : "dpmpp_2m"; }

Tensor sample(Sampler sampler, const NoiseSchedule& schedule, const Denoise& denoise, const Tensor& latents,
              const SamplerSettings& settings) {
  return sampler == Sampler::ddim ? sample_ddim(schedule, denoise, latents, settings)
                                  : sample_dpmpp_2m(schedule, denoise, latents, settings);
}

Tensor invert_ddim(const NoiseSchedule& schedule, const Denoise& denoise, const Tensor& latents,
                   const SamplerSettings& settings) {
  check_settings("DDIM inversion", latents, settings, 0);
  const at::NoGradGuard no_grad;
  const auto timesteps = ddim_inversion_timesteps(schedule, settings.steps);
  const int64_t stride = schedule.train_timesteps() / settings.steps;
  Tensor x = latents;
  for (size_t n = 0; n < timesteps.size(); ++n) {
    const int64_t timestep = timesteps[n];
    const double a = schedule.alpha_cumprod(timestep - stride), next_a = schedule.alpha_cumprod(timestep);
    const GuidedPrediction prediction = predict(denoise, x, timestep, settings.guidance_scale);
    const StepResult result = kernels::guided_step(x, prediction, ddim_coefficients(schedule, a, next_a, 0));
    x = result.next;
    report(settings, n, timesteps, result);
  }
  return x;
}

Tensor noise_prior(const Tensor& inverted, const Tensor& noise, double strength) {
  if (!(strength >= 0 && strength <= 1))
    throw Error(fmt::format("noise prior: expected a strength from 0 to 1, found {}", strength));
  if (inverted.sizes() != noise.sizes() || inverted.scalar_type() != noise.scalar_type()) {
    throw Error(fmt::format("noise prior: expected inverted latents and noise of one shape and dtype, found {} and {}",
                            shape_text(inverted.sizes()), shape_text(noise.sizes())));
  }
  return inverted * std::sqrt(strength) + noise * std::sqrt(1 - strength);
}

}  // namespace jointtuner::diffusion
