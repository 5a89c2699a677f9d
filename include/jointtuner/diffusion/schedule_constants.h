// The constants of a backbone's noise schedule: the "schedule" object of bundle.json, name by name.
#pragma once
#include <cstdint>
#include <string>

namespace jointtuner::diffusion {

struct ScheduleConstants {
  int64_t train_timesteps = 1000;
  std::string beta_schedule = "scaled_linear";  ///< linear, scaled_linear or squaredcos_cap_v2
  double beta_start = 0.00085;                  ///< unused by squaredcos_cap_v2
  double beta_end = 0.012;
  std::string prediction_type = "epsilon";   ///< epsilon, or v (v_prediction means the same)
  bool rescale_zero_snr = false;             ///< shift the schedule so that the last timestep is pure noise
  double snr_shift = 1;                      ///< CogVideoX's factor on the noise-to-signal ratio; 1 changes nothing
  std::string timestep_spacing = "leading";  ///< leading, trailing or linspace
  int64_t steps_offset = 0;                  ///< added to each timestep of the leading spacing
  bool final_alpha_one = true;  ///< the last DDIM step goes to alphas_cumprod 1 (diffusers: set_alpha_to_one), else [0]
  bool clip_sample = false;     ///< clip each x0 that DDIM sees to +-clip_sample_range
  double clip_sample_range = 1;
  std::string default_sampler = "ddim";  ///< ddim, dpmpp_2m or dpmpp_2m_sde
};

}  // namespace jointtuner::diffusion
