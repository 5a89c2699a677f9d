// Which checkpoint segments to recompute, so that a training step fits and takes as little time as may be.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "jointtuner/forecast/stage.h"
#include "jointtuner/inject/graph_program.h"

namespace jointtuner::forecast {

struct SegmentChoice {
  std::vector<inject::SegmentMemory> memory;  ///< of each segment, in the order of GraphProgram::segment_names()
  Stage stage;                                ///< training with it
  bool fits = false;
};

/// The cheapest choice of which required() (fit.h) is at most `free` bytes, each tried by a dry run:
///   keep all; recompute the segments that save most; recompute all; offload all, if that is not enough.
/// Between the first and the third: segments in the order of the bytes that recomputing saves (those that run earlier
/// first among equals: the last ones are the first to be freed), and of these the fewest that suffice, by bisection.
/// The time of a recomputation is taken to grow with the number of segments; which of them compute much for few bytes
/// (the coarse levels of a UNet) is respected by the order. When nothing fits, the last choice tried, with fits =
/// false.
SegmentChoice segments_to_fit(const backbone::Bundle& bundle, const Work& work, int64_t free, c10::Device described);

}  // namespace jointtuner::forecast
