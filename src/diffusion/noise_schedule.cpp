#include "jointtuner/diffusion/noise_schedule.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "jointtuner/base/error.h"

namespace jointtuner::diffusion {
namespace {

[[noreturn]] void fail(const std::string& text) { throw Error("noise schedule: " + text); }

/// `count` numbers from `first` to `last`, evenly.
std::vector<double> line(double first, double last, int64_t count) {
  std::vector<double> result(static_cast<size_t>(count), first);
  for (size_t i = 1; i < result.size(); ++i)
    result[i] = first + (last - first) * static_cast<double>(i) / static_cast<double>(count - 1);
  return result;
}

std::vector<double> cosine_betas(int64_t count) {
  constexpr double kLargestBeta = 0.999;
  const auto signal = [](double time) {
    const double cosine = std::cos((time + 0.008) / 1.008 * std::numbers::pi / 2);
    return cosine * cosine;
  };
  std::vector<double> betas;
  for (int64_t t = 0; t < count; ++t) {
    const double before = static_cast<double>(t) / static_cast<double>(count);
    const double after = static_cast<double>(t + 1) / static_cast<double>(count);
    betas.push_back(std::min(1 - signal(after) / signal(before), kLargestBeta));
  }
  return betas;
}

std::vector<double> betas(const ScheduleConstants& c) {
  if (c.beta_schedule == "squaredcos_cap_v2") return cosine_betas(c.train_timesteps);
  if (c.beta_schedule == "linear") return line(c.beta_start, c.beta_end, c.train_timesteps);
  if (c.beta_schedule == "scaled_linear") {
    auto result = line(std::sqrt(c.beta_start), std::sqrt(c.beta_end), c.train_timesteps);
    for (double& beta : result) beta *= beta;
    return result;
  }
  fail(fmt::format("expected beta_schedule linear, scaled_linear or squaredcos_cap_v2, found '{}'", c.beta_schedule));
}

void check(const ScheduleConstants& c) {
  if (c.train_timesteps < 2) fail(fmt::format("expected at least 2 train_timesteps, found {}", c.train_timesteps));
  if (!(c.beta_start > 0 && c.beta_start <= c.beta_end && c.beta_end < 1))
    fail(fmt::format("expected 0 < beta_start <= beta_end < 1, found {} and {}", c.beta_start, c.beta_end));
  if (!(c.snr_shift > 0)) fail(fmt::format("expected snr_shift above 0, found {}", c.snr_shift));
  if (c.steps_offset < 0) fail(fmt::format("expected steps_offset of 0 or more, found {}", c.steps_offset));
  if (c.clip_sample && !(c.clip_sample_range > 0))
    fail(fmt::format("expected clip_sample_range above 0, found {}", c.clip_sample_range));
  if (c.timestep_spacing != "leading" && c.timestep_spacing != "trailing" && c.timestep_spacing != "linspace")
    fail(fmt::format("expected timestep_spacing leading, trailing or linspace, found '{}'", c.timestep_spacing));
}

/// Algorithm 1 of arXiv 2305.08891 on the cumulative products.
void rescale_to_zero_snr(std::vector<double>& alphas_cumprod) {
  const double first = std::sqrt(alphas_cumprod.front()), last = std::sqrt(alphas_cumprod.back());
  for (double& a : alphas_cumprod) {
    const double signal = (std::sqrt(a) - last) * first / (first - last);
    a = signal * signal;
  }
}

}  // namespace

NoiseSchedule::NoiseSchedule(const ScheduleConstants& constants)
    : constants_(constants), prediction_type_(parse_prediction_type(constants.prediction_type)) {
  check(constants);
  std::vector<double> table = betas(constants);
  double product = 1;
  for (double& entry : table) entry = product *= 1 - entry;
  const double shift = constants.snr_shift;
  for (double& a : table) a /= shift + (1 - shift) * a;
  if (constants.rescale_zero_snr) rescale_to_zero_snr(table);
  alphas_cumprod_float64_ = at::empty({constants.train_timesteps}, at::TensorOptions().dtype(at::kDouble));
  std::copy(table.begin(), table.end(), alphas_cumprod_float64_.mutable_data_ptr<double>());
  alphas_cumprod_ = alphas_cumprod_float64_.to(at::kFloat);
}

double NoiseSchedule::alpha_cumprod(int64_t timestep) const {
  if (timestep >= train_timesteps())
    fail(fmt::format("timestep {} is outside 0 .. {}", timestep, train_timesteps() - 1));
  if (timestep < 0 && constants_.final_alpha_one) return 1;
  return alphas_cumprod_float64_.const_data_ptr<double>()[std::max<int64_t>(timestep, 0)];
}

std::optional<double> NoiseSchedule::x0_clip() const {
  return constants_.clip_sample ? std::optional<double>(constants_.clip_sample_range) : std::nullopt;
}

}  // namespace jointtuner::diffusion
