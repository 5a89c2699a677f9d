// From what a user asked for to settings with nothing left open, checked against the backbone.
#pragma once
#include "jointtuner/backbone/manifest.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/sample/options.h"

namespace jointtuner::sample {

/// `options` with every open value filled from the bundle: frames, height, width, fps, steps and guidance (0) and the
/// guidance schedule ("default") by its preferred ones, the sampler ("default") by its default one. Prompts lose white
/// space around them.
/// Throws UsageError, saying what is allowed: no prompt or an empty one; no seed; a size or a number of frames that the
/// backbone does not take (backbone/video_size.h); more steps than it has timesteps; a broken rule of SampleOptions,
/// now that the sampler is known; a spatial or temporal scale other than 1 for a backbone without such sites.
SampleOptions resolved(SampleOptions options, const backbone::Manifest& manifest);

/// Of every video; `options` as from resolved().
backbone::VideoSize video_size(const SampleOptions& options);

}  // namespace jointtuner::sample
