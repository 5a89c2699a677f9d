// Inputs of the tests in this folder, by the formulas that tests/goldens/make/diffusion.py states and repeats, and its
// files.
#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/sin.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "jointtuner/base/safetensors.h"
#include "jointtuner/diffusion/sampler.h"

namespace jointtuner::diffusion {

inline Safetensors load_goldens(const char* name) {
  return load_safetensors(std::filesystem::path(JOINTTUNER_TEST_DATA) / "goldens/diffusion" / name);
}

/// From the schedulers of ZeroScope and its like.
inline const Safetensors& goldens() {
  static const Safetensors file = load_goldens("schedulers.safetensors");
  return file;
}

/// From CogVideoX' two schedulers, run by its pipeline.
inline const Safetensors& cogvideox_goldens() {
  static const Safetensors file = load_goldens("cogvideox.safetensors");
  return file;
}

inline const std::vector<int64_t> kShape{1, 2, 3, 4, 5};

inline Tensor wave(double phase, const std::vector<int64_t>& shape = kShape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  const Tensor index = at::arange(count, at::TensorOptions().dtype(at::kDouble));
  return at::sin(index * 1.7 + phase).view(shape).to(at::kFloat);
}

enum class Condition { unconditional, conditional };

/// A denoiser that asks `predict` once (conditional) where the guidance scale is 1, and twice elsewhere, unconditional
/// first.
inline SamplerDenoise one_by_one(
    std::function<Tensor(const Tensor& latents, int64_t timestep, Condition condition)> predict,
    double guidance_scale) {
  return [predict = std::move(predict), guidance_scale](const Tensor& latents, int64_t timestep) {
    DenoiserOutput output;
    if (needs_unconditional(guidance_scale))
      output.unconditional = predict(latents, timestep, Condition::unconditional);
    output.conditional = predict(latents, timestep, Condition::conditional);
    return output;
  };
}

inline Tensor one_prediction(const Tensor& x, int64_t timestep, Condition condition) {
  const Tensor index = at::arange(x.numel(), at::TensorOptions().dtype(at::kDouble)).view(x.sizes());
  const double shift = condition == Condition::conditional ? 0 : 0.4;
  const double time = 0.01 * static_cast<double>(timestep);
  return (at::sin(x.to(at::kDouble)) * 0.7 + at::cos(index * 0.37 + (time + shift)) * 0.2).to(at::kFloat);
}

inline double relative_difference(const Tensor& found, const Tensor& expected) {
  const Tensor wanted = expected.to(at::kDouble);
  return ((found.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

inline ScheduleConstants zeroscope() {
  ScheduleConstants c;
  c.steps_offset = 1;
  c.final_alpha_one = false;
  return c;
}

inline ScheduleConstants linear() {
  ScheduleConstants c;
  c.beta_schedule = "linear";
  c.beta_start = 1e-4;
  c.beta_end = 0.02;
  c.timestep_spacing = "linspace";
  return c;
}

inline ScheduleConstants cosine() {
  ScheduleConstants c;
  c.beta_schedule = "squaredcos_cap_v2";
  c.prediction_type = "v_prediction";
  return c;
}

/// CogVideoX: snr_shift 3 for 2B, 1 for 5B.
inline ScheduleConstants zero_snr(double snr_shift) {
  ScheduleConstants c;
  // std::string: gcc 12 warns of the inlined assignment of a literal.
  c.prediction_type = std::string("v");
  c.rescale_zero_snr = true;
  c.snr_shift = snr_shift;
  c.timestep_spacing = std::string("trailing");
  return c;
}

inline SamplerSettings settings(int64_t steps, double guidance_scale = 1) {
  SamplerSettings result;
  result.steps = steps;
  result.guidance_scale = guidance_scale;
  return result;
}

}  // namespace jointtuner::diffusion
