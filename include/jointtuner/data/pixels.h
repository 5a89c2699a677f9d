// From an item and a draw to the pixels that the autoencoder gets, and the same in words for `check`.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "jointtuner/data/joint_batches.h"

namespace jointtuner::data {

using at::Tensor;

/// uint8 [F,H,W,3] RGB at options.height x options.width; F = 1 for an image, options.frames for a video.
Tensor load_frames(const Item& item, const ItemDraw& draw, const DataOptions& options);

/// How an item will be used.
struct ClipUse {
  double start_s = 0;
  std::vector<double> times_s;  ///< stamps of the picked frames; empty for an image
};
struct ItemUse {
  media::Crop crop;            ///< part of the source that is used, source pixels
  media::Size fitted;          ///< options.height x options.width
  std::vector<ClipUse> clips;  ///< one per clip start; one for an image
};
ItemUse use_of(const Item& item, const DataOptions& options);

}  // namespace jointtuner::data
