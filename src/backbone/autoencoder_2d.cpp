#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "autoencoder_kind.h"
#include "jointtuner/backbone/frozen_module.h"
#include "jointtuner/backbone/tiling.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::backbone {

namespace {

class Autoencoder2d final : public AutoencoderKind {
 public:
  Autoencoder2d(const Bundle& bundle, at::Device device)
      : latents_(bundle.manifest().latents),
        dtype_(bundle.manifest().autoencoder.dtype),
        device_(device),
        module_(bundle.file(bundle.manifest().autoencoder.file), device, {{"encode", 1}, {"decode", 1}}),
        encode_(module_, "encode", device),
        decode_(module_, "decode", device) {}

  int64_t encoded_frames(int64_t frames) const override { return frames; }
  int64_t decoded_frames(int64_t latent_frames) const override { return latent_frames; }

  void encode(const Tensor& clip, const AutoencoderOptions& options, Posterior& into) const override {
    const int64_t factor = latents_.spatial_compression;
    const Tiling tiling(clip.size(2) / factor, clip.size(3) / factor, options.encode_tile_px / factor);
    const bool tiled = tiling.count() > 1;
    for (int64_t frame = 0; frame < clip.size(0); frame += options.slice_frames) {
      const int64_t count = std::min(options.slice_frames, clip.size(0) - frame);
      const Tensor pixels = clip.narrow(0, frame, count).to(device_, dtype_);
      const auto encoded = [&](size_t, const Tile& tile) {
        const Tensor part = pixels.narrow(2, tile.y * factor, tile.height * factor)
                                .narrow(3, tile.x * factor, tile.width * factor)
                                .contiguous();
        const std::vector<Tensor> posterior = encode_.run({part});
        if (posterior.size() != 2)
          throw Error(fmt::format("autoencoder: encode returned {} tensors, expected mean and std", posterior.size()));
        for (const Tensor& half : posterior)
          check_shape(half, {count, latents_.channels, tile.height, tile.width}, "posterior");
        return packed_posterior(posterior[0], posterior[1], tiled);
      };
      store_posterior(tiling.blended(1, encoded), tiled, frame, into);
    }
  }

  void decode(const Tensor& latents, const AutoencoderOptions& options, const Take& take) const override {
    const int64_t factor = latents_.spatial_compression;
    const Tensor frames = latents.transpose(0, 1);  // [F,C,h,w]
    const Tiling tiling(frames.size(2), frames.size(3), options.tile_px / factor);
    for (int64_t frame = 0; frame < frames.size(0); frame += options.slice_frames) {
      const int64_t count = std::min(options.slice_frames, frames.size(0) - frame);
      const Tensor slice =
          frames.narrow(0, frame, count).to(device_, at::kFloat).div(latents_.scaling_factor).to(dtype_);
      take(frame, tiling.blended(factor, [&](size_t, const Tile& tile) {
        const Tensor part = slice.narrow(2, tile.y, tile.height).narrow(3, tile.x, tile.width).contiguous();
        const Tensor pixels = decode_.run({part}).at(0);
        check_shape(pixels, {count, 3, tile.height * factor, tile.width * factor}, "decoded pixels");
        return pixels.to(at::kFloat);
      }));
    }
  }

  bool slices_frames() const override { return true; }

 private:
  const LatentsManifest latents_;
  const c10::ScalarType dtype_;
  const at::Device device_;
  const FrozenModule module_;
  const FrozenMethod encode_, decode_;
};

}  // namespace

std::unique_ptr<AutoencoderKind> autoencoder_2d(const Bundle& bundle, at::Device device) {
  return std::make_unique<Autoencoder2d>(bundle, device);
}

}  // namespace jointtuner::backbone
