#include "jointtuner/diffusion/sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
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
  if (!prediction.defined())
    throw Error(fmt::format("sampling: the denoiser gave no {} prediction at timestep {}", which, timestep));
  if (prediction.sizes() != latents.sizes())
    throw Error(fmt::format("sampling: expected a {} prediction like the latents {}, found {} at timestep {}", which,
                            shape_text(latents.sizes()), shape_text(prediction.sizes()), timestep));
}

GuidedPrediction predict(const SamplerDenoise& denoise, const Tensor& latents, int64_t timestep,
                         const SamplerSettings& settings) {
  const DenoiserOutput output = denoise(latents, timestep);
  check_prediction(output.conditional, latents, "conditional", timestep);
  if (!needs_unconditional(settings.guidance_scale)) return {output.conditional, std::nullopt, 1};
  check_prediction(output.unconditional, latents, "unconditional", timestep);
  return {output.conditional, output.unconditional,
          guidance_at(settings.guidance_schedule, settings.guidance_scale, settings.steps, timestep)};
}

void check_settings(const char* sampler, const Tensor& latents, const SamplerSettings& settings) {
  if (!latents.defined() || !latents.is_floating_point())
    throw Error(fmt::format("{}: expected floating latents", sampler));
  if (!std::isfinite(settings.guidance_scale))
    throw Error(fmt::format("{}: expected a finite guidance scale, found {}", sampler, settings.guidance_scale));
}

void check_ddim_eta(const SamplerSettings& settings) {
  if (!(settings.eta >= 0 && settings.eta <= 1))
    throw Error(fmt::format("DDIM: expected eta from 0 to 1, found {}", settings.eta));
  if (settings.eta > 0 && !settings.noise)
    throw Error(fmt::format("DDIM: eta {} needs a source of noise", settings.eta));
}

void check_no_eta(const char* sampler, const SamplerSettings& settings, const char* reason) {
  if (settings.eta != 0) throw Error(fmt::format("{}: expected eta 0 ({}), found {}", sampler, reason, settings.eta));
}

/// Noise of step n where the step adds any.
std::optional<Tensor> step_noise(const SamplerSettings& settings, const StepCoefficients& coefficients, size_t n) {
  if (coefficients.from_noise == 0) return std::nullopt;
  return settings.noise(static_cast<int64_t>(n));
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
  // With eta 1 from pure noise (a = 0) nothing is left of it, and rounding may give less than that.
  const double direction = std::sqrt(std::max(0.0, 1 - next_a - sigma * sigma));
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

/// A DPM-Solver++ 2M SDE step from alphas_cumprod `a` to `next_a`; of second order where it knows `before_a`, that of
/// the timestep before.
StepCoefficients dpmpp_2m_sde_coefficients(const NoiseSchedule& schedule, double a, double next_a,
                                           std::optional<double> before_a) {
  const auto lambda = [](double alpha_cumprod) { return 0.5 * std::log(alpha_cumprod / (1 - alpha_cumprod)); };
  // e^{-2h}. From pure noise (a = 0) and to the end (next_a = 1) h is infinite and this is 0.
  const double decay = a * (1 - next_a) / (next_a * (1 - a));
  const double gain = std::sqrt(next_a) * (1 - decay);
  // 1 / (2 r), which is 0 after a step from pure noise: lambda was -infinity there.
  const double slope = before_a ? 0.5 * (lambda(next_a) - lambda(a)) / (lambda(a) - lambda(*before_a)) : 0;
  const Conversion convert = conversion(schedule.prediction_type(), a);
  StepCoefficients c;
  c.x0_from_latents = convert.x0_from_latents;
  c.x0_from_prediction = convert.x0_from_prediction;
  c.from_latents = std::sqrt((1 - next_a) / (1 - a) * decay);
  c.from_x0 = gain * (1 + slope);
  c.from_previous_x0 = -gain * slope;
  c.from_noise = std::sqrt((1 - next_a) * (1 - decay));
  return c;
}

}  // namespace

Tensor sample_ddim(const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
                   const SamplerSettings& settings) {
  check_settings("DDIM", latents, settings);
  check_ddim_eta(settings);
  const at::NoGradGuard no_grad;
  const auto timesteps = ddim_timesteps(schedule, settings.steps);
  const int64_t stride = schedule.train_timesteps() / settings.steps;
  Tensor x = latents;
  for (size_t n = 0; n < timesteps.size(); ++n) {
    const int64_t timestep = timesteps[n];
    const double a = schedule.alpha_cumprod(timestep), next_a = schedule.alpha_cumprod(timestep - stride);
    const StepCoefficients coefficients = ddim_coefficients(schedule, a, next_a, settings.eta);
    const GuidedPrediction prediction = predict(denoise, x, timestep, settings);
    const StepResult result =
        kernels::guided_step(x, prediction, coefficients, std::nullopt, step_noise(settings, coefficients, n));
    x = result.next;
    report(settings, n, timesteps, result);
  }
  return x;
}

Tensor sample_dpmpp_2m(const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
                       const SamplerSettings& settings) {
  check_settings("DPM-Solver++ 2M", latents, settings);
  check_no_eta("DPM-Solver++ 2M", settings, "it is deterministic");
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
    const GuidedPrediction prediction = predict(denoise, x, timesteps[n], settings);
    const StepResult result = kernels::guided_step(x, prediction, c, before);
    x = result.next;
    previous_x0 = result.x0;
    report(settings, n, timesteps, result);
  }
  return x;
}

Tensor sample_dpmpp_2m_sde(const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
                           const SamplerSettings& settings) {
  check_settings("DPM-Solver++ 2M SDE", latents, settings);
  check_no_eta("DPM-Solver++ 2M SDE", settings, "how much noise it adds is not a choice");
  if (!settings.noise) throw Error("DPM-Solver++ 2M SDE needs a source of noise");
  const at::NoGradGuard no_grad;
  const auto timesteps = ddim_timesteps(schedule, settings.steps);
  const int64_t stride = schedule.train_timesteps() / settings.steps;
  Tensor x = latents;
  std::optional<Tensor> previous_x0;
  for (size_t n = 0; n < timesteps.size(); ++n) {
    const int64_t timestep = timesteps[n], next = timestep - stride;
    const bool second_order = n > 0 && next >= 0;
    const StepCoefficients coefficients = dpmpp_2m_sde_coefficients(
        schedule, schedule.alpha_cumprod(timestep), schedule.alpha_cumprod(next),
        second_order ? std::optional<double>(schedule.alpha_cumprod(timesteps[n - 1])) : std::nullopt);
    const GuidedPrediction prediction = predict(denoise, x, timestep, settings);
    const StepResult result = kernels::guided_step(
        x, prediction, coefficients, second_order ? previous_x0 : std::nullopt, step_noise(settings, coefficients, n));
    x = result.next;
    previous_x0 = result.x0;
    report(settings, n, timesteps, result);
  }
  return x;
}

Sampler parse_sampler(std::string_view name) {
  if (name == "ddim") return Sampler::ddim;
  if (name == "dpmpp_2m") return Sampler::dpmpp_2m;
  if (name == "dpmpp_2m_sde") return Sampler::dpmpp_2m_sde;
  throw Error(fmt::format("sampler: expected ddim, dpmpp_2m or dpmpp_2m_sde, found '{}'", name));
}

std::string name(Sampler sampler) {
  switch (sampler) {
    case Sampler::ddim:
      return "ddim";
    case Sampler::dpmpp_2m:
      return "dpmpp_2m";
    case Sampler::dpmpp_2m_sde:
      break;
  }
  return "dpmpp_2m_sde";
}

Tensor sample(Sampler sampler, const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
              const SamplerSettings& settings) {
  switch (sampler) {
    case Sampler::ddim:
      return sample_ddim(schedule, denoise, latents, settings);
    case Sampler::dpmpp_2m:
      return sample_dpmpp_2m(schedule, denoise, latents, settings);
    case Sampler::dpmpp_2m_sde:
      break;
  }
  return sample_dpmpp_2m_sde(schedule, denoise, latents, settings);
}

Tensor invert_ddim(const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
                   const SamplerSettings& settings) {
  check_settings("DDIM inversion", latents, settings);
  check_no_eta("DDIM inversion", settings, "it is deterministic");
  const at::NoGradGuard no_grad;
  const auto timesteps = ddim_inversion_timesteps(schedule, settings.steps);
  const int64_t stride = schedule.train_timesteps() / settings.steps;
  Tensor x = latents;
  for (size_t n = 0; n < timesteps.size(); ++n) {
    const int64_t timestep = timesteps[n];
    const double a = schedule.alpha_cumprod(timestep - stride), next_a = schedule.alpha_cumprod(timestep);
    const GuidedPrediction prediction = predict(denoise, x, timestep, settings);
    const StepResult result = kernels::guided_step(x, prediction, ddim_coefficients(schedule, a, next_a, 0));
    x = result.next;
    report(settings, n, timesteps, result);
  }
  return x;
}

Tensor noise_prior(const Tensor& inverted, const Tensor& noise, double strength) {
  if (!(strength >= 0 && strength <= 1))
    throw Error(fmt::format("noise prior: expected a strength from 0 to 1, found {}", strength));
  if (inverted.sizes() != noise.sizes() || inverted.scalar_type() != noise.scalar_type())
    throw Error(fmt::format("noise prior: expected inverted latents and noise of one shape and dtype, found {} and {}",
                            shape_text(inverted.sizes()), shape_text(noise.sizes())));
  return inverted * std::sqrt(strength) + noise * std::sqrt(1 - strength);
}

}  // namespace jointtuner::diffusion
