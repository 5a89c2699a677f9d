#include "jointtuner/backbone/decode_within_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "jointtuner/backbone/tiling.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::backbone {

namespace {

/// The next smaller bounds, none when the tiles cannot be made smaller.
std::optional<AutoencoderOptions> smaller(const Autoencoder& autoencoder, const Tensor& latents,
                                          AutoencoderOptions options) {
  if (autoencoder.slices_frames() && options.slice_frames > 1 && latents.size(2) > 1) {
    options.slice_frames = 1;
    return options;
  }
  const int64_t factor = autoencoder.latents().spatial_compression;
  const int64_t frame = std::max(latents.size(3), latents.size(4));
  const int64_t now = options.tile_px == 0 ? frame : std::min(frame, options.tile_px / factor);
  const int64_t tile = now / 2;
  if (tile < kSmallestTileLatents || tile_step(tile) == 0) return std::nullopt;
  options.tile_px = tile * factor;
  return options;
}

std::string bounds_text(const AutoencoderOptions& options, bool slices_frames) {
  const std::string tiles =
      options.tile_px == 0 ? "whole frames" : fmt::format("tiles of {0} x {0} pixels", options.tile_px);
  return slices_frames ? fmt::format("{}, {} frame{} at a time", tiles, options.slice_frames,
                                     options.slice_frames == 1 ? "" : "s")
                       : tiles;
}

}  // namespace

DecodedClip decode_within_memory(const Autoencoder& autoencoder, const Tensor& latents,
                                 const AutoencoderOptions& options) {
  for (AutoencoderOptions bounds = options;;) {
    std::string failure;
    try {
      return {autoencoder.decode_to_bytes(latents, bounds), bounds};
    } catch (const OutOfMemory& error) {
      failure = error.what();  // what was held is freed when this block is left
    }
    const bool slices = autoencoder.slices_frames();
    const auto next = smaller(autoencoder, latents, bounds);
    if (!next)
      throw OutOfMemory(fmt::format(
          "decoding latents {} on {} ran out of memory in {}, and smaller tiles do not help: {}. Close other "
          "programs that use its memory, or decode the saved latents on another device with jointtuner "
          "decode --device.",
          shape_text(latents.sizes()), autoencoder.device().str(), bounds_text(bounds, slices), failure));
    log_warning(fmt::format("decoding ran out of memory in {}; trying again in {} ({})", bounds_text(bounds, slices),
                            bounds_text(*next, slices), failure));
    bounds = *next;
  }
}

}  // namespace jointtuner::backbone
