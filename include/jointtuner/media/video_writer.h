// Video files, through libav. Written atomically; the bytes depend on the frames, the rate and libav's version alone.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>

namespace jointtuner::media {

using at::Tensor;

/// H.264 (libx264, crf 17, yuv420p, BT.601 limited, tagged so) in mp4, with stamps i / fps. frames uint8 [F,H,W,3] RGB
/// on the CPU, F >= 1. yuv420p needs even sizes: an odd height or width gets its last row or column repeated once.
/// Throws Error on another dtype, shape or device, fps outside (0, 1000], or when this libav has no libx264.
void write_mp4(const std::filesystem::path& path, const Tensor& frames, double fps);

/// Animated GIF that loops for ever, one palette of up to 255 colours for all frames (median cut), ordered dithering.
/// GIF counts in hundredths of a second: stamps are round(100 i / fps), so the rate is right on average. fps at most
/// 50. Throws Error on another dtype, shape or device, or fps outside (0, 50].
void write_gif(const std::filesystem::path& path, const Tensor& frames, double fps);

}  // namespace jointtuner::media
