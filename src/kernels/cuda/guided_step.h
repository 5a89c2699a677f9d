// jointtuner/kernels/guided_step.h on a GPU: raw pointers, no ATen.
#pragma once
#include <cstdint>

#include "device/stream.h"

namespace jointtuner::kernels::cuda {

/// StepCoefficients in float32, with an infinite x0_clip for none.
struct StepFactors {
  float guidance_scale;
  float x0_from_latents, x0_from_prediction, x0_clip;
  float from_latents, from_prediction, from_x0, from_previous_x0, from_noise;
};

/// All [elements]; unconditional, previous_x0 and noise may be null.
template <class T>
struct GuidedStep {
  const T* latents;
  const T* conditional;
  const T* unconditional;
  const T* previous_x0;
  const T* noise;
  T* next;
  T* x0;
  int64_t elements;
  StepFactors factors;
};

/// T: float, c10::Half, c10::BFloat16.
template <class T>
void guided_step(const GuidedStep<T>& arguments, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
