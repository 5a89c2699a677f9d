#include "jointtuner/diffusion/guidance.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "jointtuner/base/error.h"

namespace jointtuner::diffusion {

GuidanceSchedule parse_guidance_schedule(std::string_view name) {
  if (name == "constant") return GuidanceSchedule::constant;
  if (name == "dynamic") return GuidanceSchedule::dynamic;
  throw Error(fmt::format("guidance schedule: expected constant or dynamic, found '{}'", name));
}

std::string name(GuidanceSchedule schedule) { return schedule == GuidanceSchedule::constant ? "constant" : "dynamic"; }

double guidance_at(GuidanceSchedule schedule, double guidance_scale, int64_t steps, int64_t timestep) {
  if (schedule == GuidanceSchedule::constant) return guidance_scale;
  if (guidance_scale <= 1) return 1;  // the pipeline does no guidance then, and this is the same prediction
  // pow, not five multiplications: the argument is large, and one rounding elsewhere would give another cosine.
  const double n = static_cast<double>(steps), left = (n - static_cast<double>(timestep)) / n;
  return 1 + guidance_scale * ((1 - std::cos(std::numbers::pi * std::pow(left, 5.0))) / 2);
}

}  // namespace jointtuner::diffusion
