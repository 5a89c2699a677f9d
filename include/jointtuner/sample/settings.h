// From what a user asked for to settings with nothing left open, checked against the backbone.
#pragma once
#include <cstdint>
#include <vector>

#include "jointtuner/backbone/manifest.h"
#include "jointtuner/sample/options.h"

namespace jointtuner::sample {

/// `options` with every open value filled from the bundle: frames, height, width and fps (0) by its preferred ones, the
/// sampler ("default") by its default one. Prompts lose white space around them.
/// Throws UsageError, saying what is allowed: no prompt or an empty one; no seed; height or width no multiple of what
/// the backbone takes; a number of frames that it does not take; more steps than it has timesteps; eta with another
/// sampler than ddim; a strength of the noise prior without its video; a spatial or temporal scale other than 1 for a
/// backbone without such sites.
SampleOptions resolved(SampleOptions options, const backbone::Manifest& manifest);

/// Shape [1,C,F,h,w] of one video's latents: F = (frames - 1) / temporal_compression + 1, h = height /
/// spatial_compression, w likewise. `options` as from resolved().
std::vector<int64_t> latents_shape(const SampleOptions& options, const backbone::Manifest& manifest);

}  // namespace jointtuner::sample
