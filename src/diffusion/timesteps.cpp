#include "jointtuner/diffusion/timesteps.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jointtuner/base/error.h"

namespace jointtuner::diffusion {
namespace {

/// Half to even, as numpy rounds.
int64_t rounded(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

std::vector<int64_t> trailing(int64_t train_timesteps, int64_t steps) {
  const double count = static_cast<double>(train_timesteps), spacing = count / static_cast<double>(steps);
  const double delta = (count - spacing) - count;  // the difference that numpy's arange multiplies
  std::vector<int64_t> result;
  for (int64_t i = 0; i < steps; ++i) result.push_back(rounded(count + static_cast<double>(i) * delta) - 1);
  return result;
}

/// i * (last / intervals), i = intervals .. 0, first `steps` of them: numpy's linspace backwards.
std::vector<int64_t> linspace(int64_t last, int64_t intervals, int64_t steps) {
  const double spacing = intervals == 0 ? 0 : static_cast<double>(last) / static_cast<double>(intervals);
  std::vector<int64_t> result;
  for (int64_t i = intervals; static_cast<int64_t>(result.size()) < steps; --i)
    result.push_back(i == intervals && intervals > 0 ? last : rounded(static_cast<double>(i) * spacing));
  return result;
}

std::vector<int64_t> leading(int64_t ratio, int64_t highest, int64_t steps, int64_t offset) {
  std::vector<int64_t> result;
  for (int64_t i = highest; static_cast<int64_t>(result.size()) < steps; --i) result.push_back(i * ratio + offset);
  return result;
}

void check_steps(const NoiseSchedule& schedule, int64_t steps) {
  if (steps < 1 || steps > schedule.train_timesteps())
    throw Error(fmt::format("sampling: expected 1 to {} steps, found {}", schedule.train_timesteps(), steps));
}

std::vector<int64_t> checked(const NoiseSchedule& schedule, std::vector<int64_t> timesteps) {
  const auto [low, high] = std::minmax_element(timesteps.begin(), timesteps.end());
  if (*low < 0 || *high >= schedule.train_timesteps())
    throw Error(fmt::format(
        "sampling: {} steps with {} spacing and offset {} reach timestep {}, outside 0 .. {}: take fewer steps",
        timesteps.size(), schedule.constants().timestep_spacing, schedule.constants().steps_offset,
        *low < 0 ? *low : *high, schedule.train_timesteps() - 1));
  return timesteps;
}

}  // namespace

std::vector<int64_t> ddim_timesteps(const NoiseSchedule& schedule, int64_t steps) {
  check_steps(schedule, steps);
  const auto& c = schedule.constants();
  const int64_t count = c.train_timesteps;
  if (c.timestep_spacing == "trailing") return checked(schedule, trailing(count, steps));
  if (c.timestep_spacing == "linspace") return checked(schedule, linspace(count - 1, steps - 1, steps));
  return checked(schedule, leading(count / steps, steps - 1, steps, c.steps_offset));
}

std::vector<int64_t> dpmpp_2m_timesteps(const NoiseSchedule& schedule, int64_t steps) {
  check_steps(schedule, steps);
  const auto& c = schedule.constants();
  const int64_t count = c.train_timesteps;
  if (c.timestep_spacing == "trailing") return checked(schedule, trailing(count, steps));
  if (c.timestep_spacing == "linspace") return checked(schedule, linspace(count - 1, steps, steps));
  return checked(schedule, leading(count / (steps + 1), steps, steps, c.steps_offset));
}

std::vector<int64_t> ddim_inversion_timesteps(const NoiseSchedule& schedule, int64_t steps) {
  if (schedule.constants().timestep_spacing == "linspace")
    throw Error("DDIM inversion: expected leading or trailing timestep spacing, found linspace");
  auto timesteps = ddim_timesteps(schedule, steps);
  std::reverse(timesteps.begin(), timesteps.end());
  return timesteps;
}

int64_t shifted_timestep(int64_t timestep, double shift, int64_t train_timesteps) {
  if (timestep < 0 || timestep >= train_timesteps || !(shift > 0))
    throw Error(fmt::format("timestep shift: expected a timestep in 0 .. {} and a shift above 0, found {} and {}",
                            train_timesteps - 1, timestep, shift));
  if (shift == 1) return timestep;
  const double count = static_cast<double>(train_timesteps), x = (static_cast<double>(timestep) + 0.5) / count;
  return static_cast<int64_t>(count * shift * x / (1 + (shift - 1) * x));  // below count, since x < 1
}

}  // namespace jointtuner::diffusion
