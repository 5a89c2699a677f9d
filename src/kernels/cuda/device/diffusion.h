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

/// Classifier-free guidance.
__host__ __device__ inline float guided(float conditional, float unconditional, float scale) {
  return unconditional + scale * (conditional - unconditional);
}

/// x in [-limit, limit], or NaN if it is.
__host__ __device__ inline float clipped(float x, float limit) { return x < -limit ? -limit : (x > limit ? limit : x); }

}  // namespace jointtuner::kernels::cuda
