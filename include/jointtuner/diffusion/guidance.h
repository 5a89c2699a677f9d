// Classifier-free guidance: how strongly each step of a sampler pulls away from the unconditional prediction.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace jointtuner::diffusion {

/// Classifier-free guidance (arXiv 2207.12598) combines unconditional + scale * (conditional - unconditional): a scale
/// of 1 is the conditional prediction alone. `guidance_scale` is the scale asked for, whatever the schedule makes of it
/// (diffusers' pipelines do no guidance below 1 either; here a constant scale below 1 is honoured).
inline bool needs_unconditional(double guidance_scale) { return guidance_scale != 1.0; }

/// How the guidance scale g that was asked for varies over the steps.
///
///   constant   g
///   dynamic    1 + g (1 - cos(pi ((n - t) / n)^5)) / 2     n steps, t the timestep 0 .. 999; 1 for every t if g <= 1
///
/// `dynamic` is diffusers' CogVideoXPipeline(use_dynamic_cfg=True), number by number, with what is odd about it: the
/// formula was made for a step count that falls to 0, where it rises smoothly from 1 to 1 + g. The pipeline puts in the
/// training timestep instead. As long as t is well above n (most of the steps), the cosine's argument runs into
/// millions and the scale jumps about in [1, 1 + g] without order; only the last steps, t < n, see the smooth rise. The
/// largest scale is 1 + g, not g, and another number of steps gives another sequence. The published CogVideoX samples
/// were made so.
enum class GuidanceSchedule { constant, dynamic };

/// "constant" or "dynamic"; anything else is an Error that names what is allowed.
GuidanceSchedule parse_guidance_schedule(std::string_view name);
std::string name(GuidanceSchedule schedule);

/// The table above: the scale at `timestep` in a run of `steps` (at least 1) steps, computed in float64 as Python does.
double guidance_at(GuidanceSchedule schedule, double guidance_scale, int64_t steps, int64_t timestep);

}  // namespace jointtuner::diffusion
