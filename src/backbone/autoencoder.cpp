#include "jointtuner/backbone/autoencoder.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "jointtuner/backbone/frozen_module.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::backbone {

namespace {

// b's first rows (dim 2) or columns (dim 3) fade in where a's last fade out: a_i (1 - i/n) + b_i i/n.
void blend_into(const Tensor& a, Tensor& b, int64_t extent, int64_t dim) {
  extent = std::min({a.size(dim), b.size(dim), extent});
  if (extent == 0) return;
  Tensor weight = at::arange(extent, b.options().dtype(at::kFloat)).div_(extent);
  weight = dim == 2 ? weight.view({1, 1, extent, 1}) : weight.view({1, 1, 1, extent});
  Tensor start = b.narrow(dim, 0, extent);
  const Tensor end = a.narrow(dim, a.size(dim) - extent, extent);
  start.mul_(weight).add_(end.mul(weight.neg().add_(1)));
}

// Bytes [n,H,W,3] of pixels [n,3,H,W].
Tensor bytes_of(const Tensor& pixels) {
  return pixels.mul(0.5).add_(0.5).clamp_(0, 1).mul_(255).round_().to(at::kByte).permute({0, 2, 3, 1});
}

}  // namespace

struct Autoencoder::Impl {
  Impl(const Bundle& bundle, at::Device device_, const AutoencoderOptions& options_)
      : latents(bundle.manifest().latents),
        dtype(bundle.manifest().dtype),
        device(device_),
        options(options_),
        autoencoder(bundle.file(bundle.manifest().autoencoder.file), device, {{"encode", 1}, {"decode", 1}}),
        encode_method(autoencoder, "encode", device),
        decode_method(autoencoder, "decode", device) {
    if (options.slice_frames < 1 || options.tile_px < 0 || !(options.tile_overlap >= 0 && options.tile_overlap < 1)) {
      throw Error(fmt::format(
          "autoencoder: expected slice_frames >= 1, tile_px >= 0 and tile_overlap in [0, 1), found {}, {} and {}",
          options.slice_frames, options.tile_px, options.tile_overlap));
    }
    if (options.tile_px > 0 && tile_latents() * options.tile_overlap < 1) {
      throw Error(fmt::format(
          "autoencoder: tiles of {} pixels are {} latents wide, too few for an overlap of {}. Choose larger tiles.",
          options.tile_px, tile_latents(), options.tile_overlap));
    }
  }

  int64_t tile_latents() const { return options.tile_px / latents.spatial_compression; }

  // Latents [n,C,h,w] on the device in the model's dtype -> pixels [n,3,H,W] fp32.
  Tensor decode_whole(const Tensor& z) const {
    const Tensor pixels = decode_method.run({z}).at(0);
    const int64_t factor = latents.spatial_compression;
    check_shape(pixels, {z.size(0), 3, z.size(2) * factor, z.size(3) * factor}, "decoded pixels");
    return pixels.to(at::kFloat);
  }

  Tensor decode_tiled(const Tensor& z) const;

  Tensor decode_slice(const Tensor& z) const {
    const bool fits = z.size(2) <= tile_latents() && z.size(3) <= tile_latents();
    return options.tile_px == 0 || fits ? decode_whole(z) : decode_tiled(z);
  }

  // Decodes slice by slice; take(b, f, pixels [n,3,H,W]) gets frames f..f+n of sample b.
  void decode(const Tensor& scaled, const std::function<void(int64_t, int64_t, const Tensor&)>& take) const {
    check_shape(scaled, {-1, latents.channels, -1, -1, -1}, "latents [B,C,F,h,w]");
    if (scaled.numel() == 0) throw Error(fmt::format("latents are empty: {}", shape_text(scaled.sizes())));
    for (int64_t b = 0; b < scaled.size(0); ++b) {
      const Tensor frames = scaled.select(0, b).transpose(0, 1);  // [F,C,h,w]
      for (int64_t f = 0; f < frames.size(0); f += options.slice_frames) {
        const int64_t count = std::min(options.slice_frames, frames.size(0) - f);
        const Tensor z = frames.narrow(0, f, count).to(device, at::kFloat).div(latents.scaling_factor);
        take(b, f, decode_slice(z.to(dtype).contiguous()));
      }
    }
  }

  const LatentsManifest latents;
  const c10::ScalarType dtype;
  const at::Device device;
  const AutoencoderOptions options;
  const FrozenModule autoencoder;
  const FrozenMethod encode_method, decode_method;
};

// AutoencoderKL.tiled_decode of diffusers 0.42.1 with tile_latent_min_size = tile_px / compression,
// tile_sample_min_size = tile_px and tile_overlap_factor = tile_overlap. Deviation: what is kept of a tile is exactly
// the step to the next one; diffusers rounds the two apart and gives a frame of wrong size where tile * overlap is no
// whole number. Only one row of tiles is held.
Tensor Autoencoder::Impl::decode_tiled(const Tensor& z) const {
  const int64_t tile = tile_latents(), tile_pixels = tile * latents.spatial_compression;
  const auto step = static_cast<int64_t>(static_cast<double>(tile) * (1 - options.tile_overlap));
  const int64_t kept = step * latents.spatial_compression, extent = tile_pixels - kept;
  std::vector<Tensor> above, rows;
  for (int64_t y = 0; y < z.size(2); y += step) {
    std::vector<Tensor> row, trimmed;
    for (int64_t x = 0; x < z.size(3); x += step) {
      const Tensor part = z.narrow(2, y, std::min(tile, z.size(2) - y)).narrow(3, x, std::min(tile, z.size(3) - x));
      Tensor pixels = decode_whole(part.contiguous());
      if (!above.empty()) blend_into(above[row.size()], pixels, extent, 2);
      if (!row.empty()) blend_into(row.back(), pixels, extent, 3);
      trimmed.push_back(
          pixels.narrow(2, 0, std::min(kept, pixels.size(2))).narrow(3, 0, std::min(kept, pixels.size(3))));
      row.push_back(std::move(pixels));
    }
    rows.push_back(at::cat(trimmed, 3));
    above = std::move(row);
  }
  const Tensor result = at::cat(rows, 2);
  const int64_t factor = latents.spatial_compression;
  check_shape(result, {z.size(0), 3, z.size(2) * factor, z.size(3) * factor}, "pixels of blended tiles");
  return result;
}

Autoencoder::Autoencoder(const Bundle& bundle, at::Device device, AutoencoderOptions options)
    : impl_(std::make_unique<Impl>(bundle, device, options)) {}
Autoencoder::~Autoencoder() = default;
Autoencoder::Autoencoder(Autoencoder&&) noexcept = default;
Autoencoder& Autoencoder::operator=(Autoencoder&&) noexcept = default;

Posterior Autoencoder::encode(const Tensor& pixels) const {
  c10::NoGradGuard no_grad;
  check_shape(pixels, {-1, 3, -1, -1}, "pixels [N,3,H,W]");
  const int64_t factor = impl_->latents.spatial_compression, height = pixels.size(2), width = pixels.size(3);
  if (pixels.numel() == 0 || height % factor != 0 || width % factor != 0) {
    throw Error(fmt::format("pixels {}: height and width must be multiples of {} above 0. Choose another size.",
                            shape_text(pixels.sizes()), factor));
  }
  std::vector<Tensor> means, stds;
  for (int64_t n = 0; n < pixels.size(0); n += impl_->options.slice_frames) {
    const int64_t count = std::min(impl_->options.slice_frames, pixels.size(0) - n);
    const Tensor slice = pixels.narrow(0, n, count).to(impl_->device, impl_->dtype).contiguous();
    const std::vector<Tensor> posterior = impl_->encode_method.run({slice});
    if (posterior.size() != 2)
      throw Error(fmt::format("autoencoder: encode returned {} tensors, expected mean and std", posterior.size()));
    for (const Tensor& part : posterior) {
      check_shape(part, {count, impl_->latents.channels, height / factor, width / factor}, "posterior");
    }
    means.push_back(posterior[0].to(at::kCPU, at::kFloat));
    stds.push_back(posterior[1].to(at::kCPU, at::kFloat));
  }
  return {at::cat(means), at::cat(stds)};
}

Tensor Autoencoder::decode(const Tensor& latents) const {
  c10::NoGradGuard no_grad;
  Tensor clip;
  impl_->decode(latents, [&](int64_t b, int64_t f, const Tensor& pixels) {
    if (!clip.defined()) {
      clip = at::empty({latents.size(0), 3, latents.size(2), pixels.size(2), pixels.size(3)}, at::kFloat);
    }
    clip.select(0, b).narrow(1, f, pixels.size(0)).copy_(pixels.transpose(0, 1));
  });
  return clip;
}

Tensor Autoencoder::decode_to_bytes(const Tensor& latents) const {
  c10::NoGradGuard no_grad;
  Tensor clip;
  impl_->decode(latents, [&](int64_t b, int64_t f, const Tensor& pixels) {
    if (!clip.defined()) {
      clip = at::empty({latents.size(0), latents.size(2), pixels.size(2), pixels.size(3), 3}, at::kByte);
    }
    clip.select(0, b).narrow(0, f, pixels.size(0)).copy_(bytes_of(pixels));
  });
  return clip;
}

}  // namespace jointtuner::backbone
