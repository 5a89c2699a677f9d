#include "jointtuner/sample/denoise.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "jointtuner/base/device.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/diffusion/sampler.h"

namespace jointtuner::sample {
namespace {

Tensor on_device(const Tensor& tensor, at::Device device) { return to_device(tensor.to(at::kFloat), device); }

Tensor predicted(const Denoiser& denoiser, const Tensor& latents, int64_t timestep, const Tensor& embedding,
                 const inject::AdapterRun& how) {
  const Tensor timesteps = at::full({latents.size(0)}, timestep, at::TensorOptions(at::kLong).device(denoiser.device));
  return denoiser.program.run(latents, timesteps, embedding, denoiser.named.adapters, how);
}

/// One call of the program a step: a batch of two with guidance, of one without.
diffusion::SamplerDenoise guided(const Denoiser& denoiser, const DenoiseInputs& inputs, double guidance,
                                 const inject::AdapterRun& how) {
  if (!diffusion::needs_unconditional(guidance))
    return [&denoiser, how, prompt = on_device(inputs.prompt, denoiser.device)](const Tensor& latents, int64_t t) {
      return diffusion::DenoiserOutput{{}, predicted(denoiser, latents, t, prompt, how)};
    };
  const Tensor both =
      at::cat({on_device(inputs.unconditional, denoiser.device), on_device(inputs.prompt, denoiser.device)});
  return [&denoiser, how, both](const Tensor& latents, int64_t t) {
    const Tensor prediction = predicted(denoiser, at::cat({latents, latents}), t, both, how);
    return diffusion::DenoiserOutput{prediction.narrow(0, 0, 1), prediction.narrow(0, 1, 1)};
  };
}

Tensor finite_on_cpu(const Tensor& latents, std::string_view what) {
  Tensor result = latents.to(at::kCPU, at::kFloat).contiguous();
  if (!at::isfinite(result).all().item<bool>())
    throw Error(
        fmt::format("{} holds values that are not finite: expected numbers, found NaN or infinity. A lower guidance or "
                    "adapter scale, or a bundle exported with --dtype bf16 or fp32, may help",
                    what));
  return result;
}

}  // namespace

inject::AdapterRun adapter_run(const SampleOptions& options, const NamedAdapter& named,
                               const std::vector<adapter::Site>& sites) {
  inject::AdapterRun how;
  how.scale = named.metadata.scale * options.adapter_scale;
  const std::pair<const char*, double> factors[] = {{"spatial", options.spatial_scale},
                                                    {"temporal", options.temporal_scale}};
  for (const auto& [group, factor] : factors)
    if (std::any_of(sites.begin(), sites.end(), [&, name = group](const auto& site) { return site.group == name; }))
      how.group_scale[group] = factor;
  how.pooling = options.gate_pooling.empty() ? named.metadata.gate_pooling
                                             : adapter::gate_pooling_from_text(options.gate_pooling);
  return how;
}

Tensor initial_noise(const std::vector<int64_t>& shape, int64_t seed) {
  return normal_draw(shape, generator(static_cast<uint64_t>(seed), 0, "latents"));
}

Tensor denoise(const Denoiser& denoiser, const DenoiseInputs& inputs, const SampleOptions& options,
               const std::function<void(int64_t done)>& after_step) {
  const c10::NoGradGuard no_grad;
  const diffusion::NoiseSchedule schedule(denoiser.schedule);
  const inject::AdapterRun how = adapter_run(options, denoiser.named, denoiser.program.sites());
  const Tensor start = on_device(inputs.latents, denoiser.device);
  diffusion::SamplerSettings settings;
  settings.steps = options.steps;
  settings.guidance_scale = options.guidance;
  settings.guidance_schedule = diffusion::parse_guidance_schedule(options.guidance_schedule);
  settings.eta = options.eta;
  settings.noise = [&](int64_t step) {
    const auto named_generator = generator(static_cast<uint64_t>(inputs.seed), 0, fmt::format("sampler/{}", step));
    return to_device(normal_draw(start.sizes(), named_generator), denoiser.device);
  };
  settings.on_step = [&](const diffusion::StepReport& report) { after_step(report.step); };
  const Tensor latents = diffusion::sample(diffusion::parse_sampler(options.sampler), schedule,
                                           guided(denoiser, inputs, options.guidance, how), start, settings);
  return finite_on_cpu(latents, fmt::format("the latents denoised with seed {}", inputs.seed));
}

Tensor inverted_latents(const Denoiser& denoiser, const Tensor& latents, const Tensor& prompt,
                        const SampleOptions& options, const std::function<void(int64_t done)>& after_step) {
  const c10::NoGradGuard no_grad;
  const diffusion::NoiseSchedule schedule(denoiser.schedule);
  const inject::AdapterRun how = adapter_run(options, denoiser.named, denoiser.program.sites());
  diffusion::SamplerSettings settings;
  settings.steps = options.steps;
  settings.on_step = [&](const diffusion::StepReport& report) { after_step(report.step); };
  const DenoiseInputs inputs{.latents = latents, .prompt = prompt, .unconditional = {}, .seed = 0};
  const Tensor noise =
      diffusion::invert_ddim(schedule, guided(denoiser, inputs, 1, how), on_device(latents, denoiser.device), settings);
  return finite_on_cpu(noise, "the inverted latents of the noise prior's video");
}

}  // namespace jointtuner::sample
