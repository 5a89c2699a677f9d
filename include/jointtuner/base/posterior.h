// What an autoencoder makes of pixels.
#pragma once
#include <ATen/core/Tensor.h>

namespace jointtuner {

/// Gaussian posterior over latents: a sample is mean + std * N(0, I), to be multiplied by the backbone's scaling factor
/// for the denoiser.
struct Posterior {
  at::Tensor mean, std;  ///< [f,C,h,w] fp32 on the CPU
};

}  // namespace jointtuner
