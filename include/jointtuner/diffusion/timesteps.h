// Which training timesteps a sampler with few steps visits (arXiv 2305.08891, table 2), T = train_timesteps, n = steps:
//
//   spacing    DDIM, i = 0 .. n-1 reversed     DPM-Solver++ (keeps one more interval, for the step to 0)
//   leading    i * (T / n) + steps_offset      (i + 1) * (T / (n + 1)) + steps_offset       integer divisions
//   trailing   round(T - i * T/n) - 1          the same
//   linspace   round(i * (T-1)/(n-1))          round((i + 1) * (T-1)/n)
//
// Rounding is half to even. The lists equal those of diffusers' DDIMScheduler, DPMSolverMultistepScheduler and
// DDIMInverseScheduler. And how a training timestep is moved towards noise (shifted_timestep).
#pragma once
#include <cstdint>
#include <vector>

#include "jointtuner/diffusion/noise_schedule.h"

namespace jointtuner::diffusion {

/// Falling timesteps, `steps` of them. Throws Error unless 1 <= steps <= T and every timestep lies in the table.
std::vector<int64_t> ddim_timesteps(const NoiseSchedule& schedule, int64_t steps);
std::vector<int64_t> dpmpp_2m_timesteps(const NoiseSchedule& schedule, int64_t steps);

/// Rising timesteps of DDIM inversion: ddim_timesteps backwards (linspace is refused, as diffusers refuses it).
std::vector<int64_t> ddim_inversion_timesteps(const NoiseSchedule& schedule, int64_t steps);

/// A uniformly drawn training timestep t in 0 .. T-1 moved towards noise, as SD3 moves its own (arXiv 2403.03206,
/// eq. 23), taken at the middle of t's share of 0 .. 1:
///
///   floor(T * shift * x / (1 + (shift - 1) * x)),  x = (t + 1/2) / T
///
/// shift 1 is t itself; shift 3 makes half of the timesteps 3/4 T or more; below 1 they move towards the clean end.
/// Throws Error unless 0 <= t < T and shift > 0.
int64_t shifted_timestep(int64_t timestep, double shift, int64_t train_timesteps);

}  // namespace jointtuner::diffusion
