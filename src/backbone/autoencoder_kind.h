// What the kinds of autoencoder have in common. Private to backbone: everybody else uses Autoencoder.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <functional>
#include <memory>

#include "jointtuner/backbone/autoencoder.h"

namespace jointtuner::backbone {

class AutoencoderKind {
 public:
  virtual ~AutoencoderKind() = default;

  /// Latent frames of a clip, and frames that latents decode to. Throw Error, naming the nearest number that the kind
  /// can take, for one that it cannot.
  virtual int64_t encoded_frames(int64_t frames) const = 0;
  virtual int64_t decoded_frames(int64_t latent_frames) const = 0;

  /// clip [F,3,H,W] of checked sizes, not empty; fills the posterior [f,C,h,w].
  virtual void encode(const Tensor& clip, const AutoencoderOptions& options, Posterior& posterior) const = 0;

  /// Gets `pixels` [n,3,H,W] fp32 on the device: the frames from `frame` on.
  using Take = std::function<void(int64_t frame, const Tensor& pixels)>;

  /// latents [C,f,h,w] of one clip, scaled, any device, of a checked number of frames. Calls `take` in the order of
  /// time.
  virtual void decode(const Tensor& latents, const AutoencoderOptions& options, const Take& take) const = 0;

  virtual bool slices_frames() const = 0;
};

/// "2d": methods encode(pixels [n,3,H,W]) -> mean, std and decode(latents [n,C,h,w]) -> pixels, each frame by itself.
std::unique_ptr<AutoencoderKind> autoencoder_2d(const Bundle& bundle, at::Device device);

/// "causal_3d": chunk methods encode_first_N, encode_next, decode_first_N, decode_next with N of manifest.h's
/// ChunkRule, each for one clip, which take (next) and give the cache of all convolutions over time.
std::unique_ptr<AutoencoderKind> autoencoder_causal_3d(const Bundle& bundle, at::Device device);

/// A posterior [n,C,...] on its way through the tiles, in one tensor [n,2C,...]. diffusers blends mean and log
/// variance, so std travels as its logarithm where there is more than one tile.
Tensor packed_posterior(const Tensor& mean, const Tensor& std, bool tiled);
/// packed [n,2C,h,w] becomes the clip's latent frames from `frame` on.
void store_posterior(const Tensor& packed, bool tiled, int64_t frame, Posterior& clip);

}  // namespace jointtuner::backbone
