// jointtuner/kernels/add_noise.h on a GPU: raw pointers, no ATen.
#pragma once
#include <cstdint>

#include "device/stream.h"

namespace jointtuner::kernels::cuda {

///   noisy    = sqrt(a[t]) latents + sqrt(1 - a[t]) noise
///   velocity = sqrt(a[t]) noise - sqrt(1 - a[t]) latents, unless it is null
///
/// latents, noise, noisy, velocity [items, per_item], contiguous; timestep t [items]; alphas_cumprod a [timesteps].
template <class T>
struct AddNoise {
  const T* latents;
  const T* noise;
  const int64_t* timestep;
  const float* alphas_cumprod;
  T* noisy;
  T* velocity;
  int64_t items, per_item, timesteps;
};

/// T: float, c10::Half, c10::BFloat16. A timestep outside the table stops the kernel.
template <class T>
void add_noise(const AddNoise<T>& arguments, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
