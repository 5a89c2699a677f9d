// Which videos a backbone can do, and the latents that belong to them. This is the only place that knows the rules.
//
// A video of N frames of height x width pixels has latents [1,C,F,h,w] with F = 1 + (N - 1) / temporal_compression,
// h = height / spatial_compression, w = width / spatial_compression. A denoiser that joins frames to patches takes a
// multiple of frames_multiple of them only: the latents are then padded in front, with copies of the first frame where
// there is one (training, noise prior) and with noise where there is none (sampling); the padding of a sampled result
// is dropped.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "jointtuner/backbone/manifest.h"

namespace jointtuner::backbone {

using at::Tensor;

struct VideoSize {
  int64_t frames = 1;
  int64_t height = 0, width = 0;  ///< pixels
};

/// Throws UsageError, naming the option with `prefix` in front ("data."), the size and the nearest that the backbone
/// takes.
void check_video_size(const Manifest& manifest, const VideoSize& size, std::string_view prefix = "");

/// Latent frames of `frames` frames, without padding.
int64_t latent_frames(const LatentsManifest& latents, int64_t frames);
/// The other way round: frames of `latent_frames` latent frames.
int64_t video_frames(const LatentsManifest& latents, int64_t latent_frames);

/// [1,C,F,h,w] of a checked size, F with the padding: what the denoiser takes.
std::vector<int64_t> latents_shape(const Manifest& manifest, const VideoSize& size);

/// latents [B,C,F,h,w] with copies of the first frame in front, up to a multiple of frames_multiple; the same tensor
/// where nothing is missing.
Tensor padded_frames(const Tensor& latents, int64_t frames_multiple);

/// The last `frames` latent frames of [B,C,F,h,w].
Tensor without_padding(const Tensor& latents, int64_t frames);

/// Lengths of the chunks that a clip of `frames` frames is cut into; empty when the rule cannot cut it.
std::vector<int64_t> chunk_lengths(const ChunkRule& rule, int64_t frames);

}  // namespace jointtuner::backbone
