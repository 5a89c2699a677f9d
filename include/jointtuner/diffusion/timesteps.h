// Which training timesteps a sampler with few steps visits (arXiv 2305.08891, table 2), T = train_timesteps, n = steps:
//
//   spacing    DDIM, i = 0 .. n-1 reversed     DPM-Solver++ (keeps one more interval, for the step to 0)
//   leading    i * (T / n) + steps_offset      (i + 1) * (T / (n + 1)) + steps_offset       integer divisions
//   trailing   round(T - i * T/n) - 1          the same
//   linspace   round(i * (T-1)/(n-1))          round((i + 1) * (T-1)/n)
//
// Rounding is half to even. The lists equal those of diffusers' DDIMScheduler, DPMSolverMultistepScheduler and
// DDIMInverseScheduler.
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

}  // namespace jointtuner::diffusion
