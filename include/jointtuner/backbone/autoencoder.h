// The frozen variational autoencoder: pixels <-> latents. bundle.json says of which kind it is.
//
// A clip of F frames has f = 1 + (F - 1) / t latent frames, t the bundle's temporal compression; an image is a clip of
// one frame. The 2-D kind (t = 1) treats each frame by itself. The causal 3-D kind takes a clip in chunks of the
// lengths that the bundle lists and hands what later frames need from chunk to chunk (its cache), so that the result
// equals that of the whole clip at once. Either way the memory needed besides the result is that of one slice or chunk
// of frames, or of a tile of it: it doesn't grow with the clip.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <memory>

#include "jointtuner/backbone/bundle.h"
#include "jointtuner/backbone/options.h"

namespace jointtuner::backbone {

using at::Tensor;

/// Gaussian posterior over latents: sample = mean + std * N(0, I), to be multiplied by the scaling factor for the
/// denoiser.
struct Posterior {
  Tensor mean, std;  ///< [f,C,h,w] fp32 on the CPU
};

/// All functions throw OutOfMemory where the device or the host has no memory left for what `options` allow.
class Autoencoder {
 public:
  // Loads the bundle's autoencoder onto `device`. Throws Error if the file is damaged or lacks the methods that
  // bundle.json names, or if the options contradict each other.
  Autoencoder(const Bundle& bundle, at::Device device, AutoencoderOptions options = {});
  ~Autoencoder();
  Autoencoder(Autoencoder&&) noexcept;
  Autoencoder& operator=(Autoencoder&&) noexcept;

  /// clip [F,3,H,W], the frames of ONE clip in order, fp32 in [-1,1], any device, H and W multiples of the spatial
  /// compression -> posterior of its f latent frames. With options.encode_tile_px > 0, frames with a side above it are
  /// encoded in overlapping tiles blended linearly, as diffusers' tiled_encode does. Throws Error for a number of
  /// frames that the autoencoder cannot take, naming the nearest that it can.
  Posterior encode(const Tensor& clip) const;

  /// latents [B,C,f,h,w] as the denoiser has them (scaled) -> pixels [B,3,F,H,W] fp32 on the CPU, nominally in [-1,1],
  /// not clamped. With options.tile_px > 0, frames with a side above it are decoded in overlapping tiles blended
  /// linearly, as diffusers' tiled_decode does. Throws Error as encode does.
  Tensor decode(const Tensor& latents) const;

  /// The same as bytes: round(255 * clamp((x + 1) / 2, 0, 1)), uint8 [B,F,H,W,3] on the CPU. The fp32 clip never exists
  /// as a whole. The second form decodes within other bounds than those given on loading.
  Tensor decode_to_bytes(const Tensor& latents) const;
  Tensor decode_to_bytes(const Tensor& latents, const AutoencoderOptions& options) const;

  const AutoencoderOptions& options() const;
  const LatentsManifest& latents() const;  ///< compression and scaling factor
  at::Device device() const;
  /// Whether options.slice_frames bounds anything, that is, whether the kind takes frames one by one.
  bool slices_frames() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::backbone
