#include "jointtuner/train/denoise.h"

namespace jointtuner::train {

Denoise adapted_denoiser(const inject::GraphProgram& program, const adapter::AdapterSet& adapters,
                         const adapter::AdapterOptions& options) {
  inject::AdapterRun how;
  how.scale = options.scale;
  how.dropout = options.dropout;
  how.pooling = adapter::gate_pooling_from_text(options.gate_pooling);
  return [&program, &adapters, how](const Tensor& latents, const Tensor& timestep, const Tensor& prompt_embedding,
                                    int64_t dropout_seed) mutable {
    how.dropout_seed = dropout_seed;
    return program.run(latents, timestep, prompt_embedding, &adapters, how);
  };
}

diffusion::ScheduleConstants schedule_constants(const backbone::ScheduleManifest& schedule) {
  return {.train_timesteps = schedule.train_timesteps,
          .beta_schedule = schedule.beta_schedule,
          .beta_start = schedule.beta_start,
          .beta_end = schedule.beta_end,
          .prediction_type = schedule.prediction_type,
          .rescale_zero_snr = schedule.rescale_zero_snr,
          .snr_shift = schedule.snr_shift,
          .timestep_spacing = schedule.timestep_spacing,
          .steps_offset = schedule.steps_offset,
          .final_alpha_one = schedule.final_alpha_one,
          .clip_sample = schedule.clip_sample,
          .clip_sample_range = schedule.clip_sample_range,
          .default_sampler = schedule.default_sampler};
}

}  // namespace jointtuner::train
