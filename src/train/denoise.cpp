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

}  // namespace jointtuner::train
