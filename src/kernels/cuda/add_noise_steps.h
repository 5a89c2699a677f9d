// add_noise between ATen and the launcher, for float32, float16 and bfloat16 on a given stream. Apart from the
// binding so that tests can run it without a GPU. The arguments are the operator's, and have passed its checks.
#pragma once
#include "device/stream.h"
#include "jointtuner/kernels/add_noise.h"

namespace jointtuner::kernels::cuda {

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
                 cudaStream_t stream);
NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
