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

#include <cstdint>
#include <memory>

#include "jointtuner/backbone/bundle.h"
#include "jointtuner/base/posterior.h"

namespace jointtuner::backbone {

using at::Tensor;

/// Bounds the memory of the autoencoder; a clip's length never adds to it. Slicing never changes a result; tiling
/// changes it slightly (each tile is coded without seeing beyond its border) and therefore is off unless asked for.
struct AutoencoderOptions {
  /// Frames that pass through at once; without effect on a kind that is causal in time, which takes chunks of the
  /// length it was made for.
  int64_t slice_frames = 4;
  int64_t tile_px = 0;         ///< side of the square tiles of a decoded frame, in pixels; 0 decodes frames whole
  int64_t encode_tile_px = 0;  ///< the same of an encoded frame
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
