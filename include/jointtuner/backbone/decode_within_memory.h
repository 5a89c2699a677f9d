// Decoding that asks for less when memory runs out, so that latents which took minutes to sample become a video.
#pragma once
#include "jointtuner/backbone/autoencoder.h"

namespace jointtuner::backbone {

/// Tiles are not made smaller than this many latents a side: what little memory a smaller one saves is not what is
/// lacking, and the picture becomes all seams.
inline constexpr int64_t kSmallestTileLatents = 4;

struct DecodedClip {
  Tensor frames;               ///< uint8 [B,F,H,W,3] on the CPU
  AutoencoderOptions options;  ///< those it was decoded with; tile_px is worth recording, and the next clip best starts
                               ///< with them
};

/// latents [B,C,f,h,w] as Autoencoder::decode_to_bytes takes them. Starts with `options`. Each time memory runs out it
/// logs a warning that names what it tries next: single frames, where the autoencoder takes frames one by one (this
/// changes nothing in the result), then tiles, square, of half the frame's longer side, then of half of that, and so
/// on. Throws OutOfMemory, saying what to do, when the smallest tiles do not fit either. Errors of any other kind pass
/// through.
DecodedClip decode_within_memory(const Autoencoder& autoencoder, const Tensor& latents,
                                 const AutoencoderOptions& options);

}  // namespace jointtuner::backbone
