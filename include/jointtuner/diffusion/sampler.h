// Samplers: from noise to latents, and back. Free functions over a denoiser callback; nothing here knows a model.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "jointtuner/diffusion/guidance.h"
#include "jointtuner/diffusion/noise_schedule.h"

namespace jointtuner::diffusion {

using at::Tensor;

/// What the denoiser says about latents at a timestep, each shaped like the latents. `unconditional` may be undefined
/// when needs_unconditional(guidance_scale) is false, and is ignored then: ask the model once, not twice.
struct DenoiserOutput {
  Tensor unconditional;
  Tensor conditional;
};
using SamplerDenoise = std::function<DenoiserOutput(const Tensor& latents, int64_t timestep)>;

/// After each step. References are valid during the call only.
struct StepReport {
  int64_t step;           ///< 1 .. steps: how many are done
  int64_t steps;          ///< how many there will be
  int64_t timestep;       ///< the one just left
  const Tensor& latents;  ///< after the step
  const Tensor& x0;       ///< clean latents as seen in this step
};

struct SamplerSettings {
  int64_t steps = 30;
  double guidance_scale = 1;  ///< as asked for; guidance_schedule says what each step makes of it
  GuidanceSchedule guidance_schedule = GuidanceSchedule::constant;
  double eta = 0;  ///< DDIM only: 0 deterministic .. 1 as noisy as DDPM
  /// Noise for step n = 0, 1, ... shaped, typed and placed like the latents (generator "sampler/<n>"); asked for at
  /// most once a step, and only where noise is added: DDIM with eta > 0, and DPM-Solver++ 2M SDE except in a step to
  /// alphas_cumprod 1.
  std::function<Tensor(int64_t step)> noise;
  /// Progress. To interrupt, throw: the exception leaves the sampler and nothing else is touched.
  std::function<void(const StepReport&)> on_step;
};

/// DDIM (arXiv 2010.02502, eq. 12), equal to diffusers' DDIMScheduler and, with eta 0 and no clip,
/// CogVideoXDDIMScheduler. With a, a' of timesteps t and t - T / n (integer division) and sigma = eta
/// sqrt((1-a')/(1-a)) sqrt(1-a/a'):
///
///   x' = sqrt(a') clip(x0) + sqrt(1 - a' - sigma^2) epsilon + sigma noise
///
/// latents [B,C,F,H,W], N(0,1), float32 (any floating dtype works; arithmetic is at least float32); returns the clean
/// latents. Runs without recording gradients. Throws Error for settings that make no sense, or predictions of another
/// shape.
Tensor sample_ddim(const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
                   const SamplerSettings& settings);

/// DPM-Solver++ 2M (arXiv 2211.01095, algorithm 2), equal to diffusers' DPMSolverMultistepScheduler with dpmsolver++,
/// order 2, midpoint, final sigma 0. With alpha = sqrt(a), sigma = sqrt(1-a), lambda = log(alpha/sigma), h = lambda' -
/// lambda, r = h_before / h:
///
///   D  = x0 + (x0 - x0_before) / (2 r)            (D = x0 in the first and the last step)
///   x' = sigma'/sigma x - alpha' (e^{-h} - 1) D
///
/// Twice the order of DDIM at the same number of denoiser calls. Deterministic: eta must be 0. The schedule's x0 clip
/// does not apply.
Tensor sample_dpmpp_2m(const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
                       const SamplerSettings& settings);

/// DPM-Solver++ 2M SDE as CogVideoX samples, equal to diffusers' CogVideoXDPMScheduler given the same noise. One step
/// goes from timestep t to t' = t - T / n (integer division; T = train_timesteps, n = steps). With lambda =
/// log(a / (1-a)) / 2, h = lambda' - lambda, r = (lambda - lambda_before) / h, where "before" is the list's timestep
/// before t:
///
///   D  = x0 + (x0 - x0_before) / (2 r)            (D = x0 in the first step and in one to t' < 0)
///   x' = sqrt((1-a')/(1-a)) e^{-h} x + sqrt(a') (1 - e^{-2h}) D + sqrt(1-a') sqrt(1 - e^{-2h}) noise
///
/// At zero SNR, a = 0, lambda is -infinity and every coefficient has a limit: x itself is not used. As in diffusers,
/// where n does not divide T the list's next timestep is not quite t', and a last step to t' = 0 (15 steps of 1000, for
/// instance) leaves that timestep's noise in the result. diffusers draws twice in each second-order step and drops the
/// first draw; here one draw a step, by name, is all there is. eta must be 0: the amount of noise is not a choice. The
/// schedule's x0 clip does not apply.
Tensor sample_dpmpp_2m_sde(const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
                           const SamplerSettings& settings);

enum class Sampler { ddim, dpmpp_2m, dpmpp_2m_sde };

/// "ddim", "dpmpp_2m" or "dpmpp_2m_sde"; anything else is an Error that names what is allowed.
Sampler parse_sampler(std::string_view name);
std::string name(Sampler sampler);

/// The sample_... function of that name.
Tensor sample(Sampler sampler, const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
              const SamplerSettings& settings);

/// DDIM run backwards: the noise from which sample_ddim (eta 0) comes back to about these clean latents; equal to
/// diffusers' DDIMInverseScheduler. eta must be 0.
Tensor invert_ddim(const NoiseSchedule& schedule, const SamplerDenoise& denoise, const Tensor& latents,
                   const SamplerSettings& settings);

/// Initial latents that carry a reference video's motion: sqrt(strength) * inverted + sqrt(1 - strength) * noise,
/// strength in [0, 1] (0: the noise itself). Both tensors have one shape and dtype.
Tensor noise_prior(const Tensor& inverted, const Tensor& noise, double strength);

}  // namespace jointtuner::diffusion
