// From files to prepared data, in the memory order of a run: text encoder, gone; autoencoder, gone; then the denoiser.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "jointtuner/backbone/bundle.h"
#include "jointtuner/data/item.h"
#include "jointtuner/data/options.h"
#include "jointtuner/train/prepared_data.h"

namespace jointtuner::train {

/// Encodes every distinct caption, then every draw that can occur (images mirrored or not, all clips), through the
/// caches of `options`. A model is loaded at the first miss of its cache and freed before the next one; with warm
/// caches no model is loaded and no media file is decoded. Throws Error naming the file for whatever cannot be encoded,
/// for a caption longer than the text encoder takes, and for sizes the backbone does not allow.
PreparedData prepare(std::vector<data::Item> items, const data::DataOptions& options, const backbone::Bundle& bundle,
                     at::Device device);

/// Throws UsageError, naming the option and the nearest sizes that are allowed, when the bundle does not take
/// data.height x data.width, data.frames while there are videos, or one frame while there are images
/// (backbone/video_size.h). Looks at the manifest only.
void check_sizes(const data::DataOptions& options, const backbone::Manifest& manifest);

}  // namespace jointtuner::train
