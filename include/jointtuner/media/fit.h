// How a picture gets the size that the model wants.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace jointtuner::media {

using at::Tensor;

/// cover: keep the aspect, fill the whole target, cut what sticks out equally on both sides.
/// stretch: use the whole picture, change its aspect.
enum class Fit { cover, stretch };

/// The Fit named "cover" or "stretch"; throws UsageError for any other word.
Fit fit_from(std::string_view word);

struct Size {
  int64_t height_px = 0;
  int64_t width_px = 0;
  bool operator==(const Size&) const = default;
};

/// The part of the source that is used, in source pixels.
struct Crop {
  int64_t top_px = 0;
  int64_t left_px = 0;
  int64_t height_px = 0;
  int64_t width_px = 0;
  bool operator==(const Crop&) const = default;
};

/// The largest centred rectangle of the target's aspect (cover), or everything (stretch):
///   crop_h = min(h, round(w * H / W)), crop_w = min(w, round(h * W / H)), at least 1; top = (h - crop_h) / 2, left
///   likewise, rounded down.
Crop crop_of(Size source, Size target, Fit fit);

/// frames uint8 [F,h,w,3] or [h,w,3] on the CPU -> the same rank, uint8 [F,H,W,3] or [H,W,3].
/// crop_of, then two separate steps, each left out where it changes nothing:
///   1. INTER_AREA to (min(crop_h, H), min(crop_w, W)): every source pixel counts, so shrinking does not alias;
///   2. INTER_CUBIC to (H, W).
/// Same size in and out is the identity. Throws Error on another dtype, shape, device or an empty target.
Tensor fit(const Tensor& frames, Size target, Fit mode = Fit::cover);
inline Tensor fit(const Tensor& frames, int64_t height_px, int64_t width_px, Fit mode = Fit::cover) {
  return fit(frames, Size{height_px, width_px}, mode);
}

}  // namespace jointtuner::media
