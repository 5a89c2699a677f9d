// The arithmetic of diffusion on single elements.
#pragma once
#include <cmath>

#include "gpu.h"

namespace jointtuner::kernels::cuda {

/// x_t = signal x_0 + spread noise and its v = signal noise - spread x_0, at a value a of alphas_cumprod.
struct Diffused {
  float signal, spread;
  __host__ __device__ explicit Diffused(float a) : signal(std::sqrt(a)), spread(std::sqrt(1 - a)) {}
  __host__ __device__ float noisy(float latent, float noise) const { return signal * latent + spread * noise; }
  __host__ __device__ float velocity(float latent, float noise) const { return signal * noise - spread * latent; }
};

}  // namespace jointtuner::kernels::cuda
