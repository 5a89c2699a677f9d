// The frozen 2-D variational autoencoder: pixels <-> latents, frame by frame.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <memory>

#include "jointtuner/backbone/bundle.h"
#include "jointtuner/backbone/options.h"

namespace jointtuner::backbone {

using at::Tensor;

// Gaussian posterior over latents: sample = mean + std * N(0, I), to be multiplied by the scaling factor for the
// denoiser.
struct Posterior {
  Tensor mean, std;  // [N,C,H/8,W/8] fp32 on the CPU
};

class Autoencoder {
 public:
  // Loads the bundle's autoencoder onto `device`. Throws Error if the file is damaged or lacks encode(pixels) or
  // decode(latents).
  Autoencoder(const Bundle& bundle, at::Device device, AutoencoderOptions options = {});
  ~Autoencoder();
  Autoencoder(Autoencoder&&) noexcept;
  Autoencoder& operator=(Autoencoder&&) noexcept;

  // pixels [N,3,H,W], fp32 in [-1,1], any device, H and W multiples of the spatial compression -> posterior of the N
  // frames. At most options.slice_frames frames are on the device at once. Never tiled.
  Posterior encode(const Tensor& pixels) const;

  // latents [B,C,F,h,w] as the denoiser has them (scaled) -> pixels [B,3,F,H,W] fp32 on the CPU, nominally in [-1,1],
  // not clamped. At most options.slice_frames frames, or tiles of them, are on the device at once. With options.tile_px
  // > 0, frames with a side above it are decoded in overlapping tiles blended linearly, as diffusers'
  // AutoencoderKL.tiled_decode does.
  Tensor decode(const Tensor& latents) const;

  // The same as bytes: round(255 * clamp((x + 1) / 2, 0, 1)), uint8 [B,F,H,W,3] on the CPU. The fp32 clip never exists
  // as a whole.
  Tensor decode_to_bytes(const Tensor& latents) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::backbone
