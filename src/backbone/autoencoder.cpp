#include "jointtuner/backbone/autoencoder.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <functional>
#include <vector>

#include "autoencoder_kind.h"
#include "jointtuner/backbone/frozen_module.h"
#include "jointtuner/backbone/tiling.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/pixels.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::backbone {

namespace {

void check_tile(const char* name, int64_t tile_px, const LatentsManifest& latents) {
  const int64_t tile = tile_px / latents.spatial_compression;
  if (tile_px > 0 && tile_step(tile) == 0)
    throw Error(fmt::format("autoencoder: {} {} is {} latents, too few for an overlap of {}. Choose larger tiles.",
                            name, tile_px, tile, kTileOverlap));
}

void check_options(const AutoencoderOptions& options, const LatentsManifest& latents) {
  if (options.slice_frames < 1 || options.tile_px < 0 || options.encode_tile_px < 0)
    throw Error(
        fmt::format("autoencoder: expected slice_frames >= 1, tile_px and encode_tile_px >= 0, found {}, {} and {}",
                    options.slice_frames, options.tile_px, options.encode_tile_px));
  check_tile("tile_px", options.tile_px, latents);
  check_tile("encode_tile_px", options.encode_tile_px, latents);
}

std::unique_ptr<AutoencoderKind> kind_of(const Bundle& bundle, at::Device device) {
  const std::string& kind = bundle.manifest().autoencoder.kind;
  if (kind == "2d") return autoencoder_2d(bundle, device);
  if (kind == "causal_3d") return autoencoder_causal_3d(bundle, device);
  throw Error(fmt::format("{}: autoencoder.kind: expected 2d or causal_3d, found {}. Export the bundle again.",
                          bundle.path().string(), kind));
}

/// Memory can run out outside of the model too, where clips are copied and results allocated.
template <class Work>
auto with_memory_errors(const char* what, const Work& work) {
  try {
    c10::NoGradGuard no_grad;
    return work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) throw OutOfMemory(fmt::format("{}: {}", what, one_line(error)));
    throw;
  }
}

}  // namespace

Tensor packed_posterior(const Tensor& mean, const Tensor& std, bool tiled) {
  constexpr double kLowest = -15;  // of log std in diffusers; it also keeps a std that underflowed to 0 finite
  const Tensor spread = std.to(at::kFloat);
  return at::cat({mean.to(at::kFloat), tiled ? spread.log().clamp_min_(kLowest) : spread}, 1);
}

void store_posterior(const Tensor& packed, bool tiled, int64_t frame, Posterior& clip) {
  const std::vector<Tensor> halves = packed.chunk(2, 1);
  clip.mean.narrow(0, frame, packed.size(0)).copy_(halves[0]);
  clip.std.narrow(0, frame, packed.size(0)).copy_(tiled ? halves[1].exp() : halves[1]);
}

struct Autoencoder::Impl {
  Impl(const Bundle& bundle, at::Device device_, const AutoencoderOptions& options_)
      : latents(bundle.manifest().latents), device(device_), options(options_), kind(kind_of(bundle, device_)) {
    check_options(options, latents);
  }

  /// The sizes of the clips that the latents decode to.
  struct Clips {
    int64_t count = 0, frames = 0, height = 0, width = 0;
  };

  Clips clips_of(const Tensor& scaled) const {
    check_shape(scaled, {-1, latents.channels, -1, -1, -1}, "latents [B,C,F,h,w]");
    if (scaled.numel() == 0) throw Error(fmt::format("latents are empty: {}", shape_text(scaled.sizes())));
    const int64_t factor = latents.spatial_compression;
    return {scaled.size(0), kind->decoded_frames(scaled.size(2)), scaled.size(3) * factor, scaled.size(4) * factor};
  }

  /// take(b, frame, pixels [n,3,H,W]) gets the frames of clip b from `frame` on.
  void decode(const Tensor& scaled, const AutoencoderOptions& bounds,
              const std::function<void(int64_t, int64_t, const Tensor&)>& take) const {
    for (int64_t b = 0; b < scaled.size(0); ++b)
      kind->decode(scaled.select(0, b), bounds, [&](int64_t frame, const Tensor& pixels) { take(b, frame, pixels); });
  }

  LatentsManifest latents;
  at::Device device;
  AutoencoderOptions options;
  std::unique_ptr<AutoencoderKind> kind;
};

Autoencoder::Autoencoder(const Bundle& bundle, at::Device device, AutoencoderOptions options)
    : impl_(std::make_unique<Impl>(bundle, device, options)) {}
Autoencoder::~Autoencoder() = default;
Autoencoder::Autoencoder(Autoencoder&&) noexcept = default;
Autoencoder& Autoencoder::operator=(Autoencoder&&) noexcept = default;

const AutoencoderOptions& Autoencoder::options() const { return impl_->options; }
const LatentsManifest& Autoencoder::latents() const { return impl_->latents; }
at::Device Autoencoder::device() const { return impl_->device; }
bool Autoencoder::slices_frames() const { return impl_->kind->slices_frames(); }

Posterior Autoencoder::encode(const Tensor& clip) const {
  check_shape(clip, {-1, 3, -1, -1}, "clip [F,3,H,W]");
  const int64_t factor = impl_->latents.spatial_compression;
  if (clip.numel() == 0 || clip.size(2) % factor != 0 || clip.size(3) % factor != 0)
    throw Error(fmt::format("clip {}: height and width must be multiples of {} above 0. Choose another size.",
                            shape_text(clip.sizes()), factor));
  return with_memory_errors("encoding", [&] {
    const int64_t frames = impl_->kind->encoded_frames(clip.size(0));
    const std::vector<int64_t> shape{frames, impl_->latents.channels, clip.size(2) / factor, clip.size(3) / factor};
    Posterior posterior{at::empty(shape, at::kFloat), at::empty(shape, at::kFloat)};
    impl_->kind->encode(clip, impl_->options, posterior);
    return posterior;
  });
}

Tensor Autoencoder::decode(const Tensor& latents) const {
  return with_memory_errors("decoding", [&] {
    const Impl::Clips clips = impl_->clips_of(latents);
    Tensor result = at::empty({clips.count, 3, clips.frames, clips.height, clips.width}, at::kFloat);
    impl_->decode(latents, impl_->options, [&](int64_t b, int64_t frame, const Tensor& pixels) {
      result.select(0, b).narrow(1, frame, pixels.size(0)).copy_(pixels.transpose(0, 1));
    });
    return result;
  });
}

Tensor Autoencoder::decode_to_bytes(const Tensor& latents) const { return decode_to_bytes(latents, impl_->options); }

Tensor Autoencoder::decode_to_bytes(const Tensor& latents, const AutoencoderOptions& options) const {
  check_options(options, impl_->latents);
  return with_memory_errors("decoding", [&] {
    const Impl::Clips clips = impl_->clips_of(latents);
    Tensor result = at::empty({clips.count, clips.frames, clips.height, clips.width, 3}, at::kByte);
    impl_->decode(latents, options, [&](int64_t b, int64_t frame, const Tensor& pixels) {
      result.select(0, b).narrow(0, frame, pixels.size(0)).copy_(to_bytes(pixels));
    });
    return result;
  });
}

}  // namespace jointtuner::backbone
