#include "jointtuner/forecast/segments.h"

#include <algorithm>
#include <numeric>

#include "jointtuner/forecast/fit.h"
#include "jointtuner/inject/segment_watch.h"
#include "training.h"

namespace jointtuner::forecast {

namespace {

using inject::SegmentMemory;

/// Steps with all segments alike, and the bytes that are live after each segment's forward pass, of the last item.
struct Watched {
  Stage stage;
  std::vector<int64_t> live;
};

Watched watched(Training& training, SegmentMemory memory) {
  Watched found;
  found.live.resize(training.program().segment_names().size());
  const inject::SegmentWatch watch([&](size_t segment) { found.live[segment] = training.live(); });
  found.stage = training.steps({memory});
  return found;
}

/// Segments, those that save most by being recomputed first.
std::vector<size_t> by_bytes_saved(const std::vector<int64_t>& kept, const std::vector<int64_t>& recomputed) {
  std::vector<int64_t> saved(kept.size());
  for (size_t i = 0; i < kept.size(); ++i) saved[i] = kept[i] - recomputed[i];
  std::adjacent_difference(saved.begin(), saved.end(), saved.begin());
  std::vector<size_t> order(kept.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return saved[a] > saved[b]; });
  return order;
}

std::vector<SegmentMemory> first_recomputed(const std::vector<size_t>& order, size_t count) {
  std::vector<SegmentMemory> memory(order.size(), SegmentMemory::keep);
  for (size_t i = 0; i < count; ++i) memory[order[i]] = SegmentMemory::recompute;
  return memory;
}

}  // namespace

SegmentChoice segments_to_fit(const backbone::Bundle& bundle, const Work& work, int64_t free, c10::Device described) {
  Training training(bundle, work, described);
  const auto fits = [&](const Stage& stage) { return required(stage, described) <= free; };
  const size_t segments = training.program().segment_names().size();
  const auto all = [&](SegmentMemory memory) { return std::vector<SegmentMemory>(segments, memory); };

  const Watched kept = watched(training, SegmentMemory::keep);
  if (fits(kept.stage)) return {all(SegmentMemory::keep), kept.stage, true};
  const Watched recomputed = watched(training, SegmentMemory::recompute);
  if (!fits(recomputed.stage)) {
    const Stage offloaded = training.steps({SegmentMemory::offload});
    return {all(SegmentMemory::offload), offloaded, fits(offloaded)};
  }
  const std::vector<size_t> order = by_bytes_saved(kept.live, recomputed.live);
  SegmentChoice best{all(SegmentMemory::recompute), recomputed.stage, true};
  for (size_t too_few = 0, enough = segments; enough - too_few > 1;) {
    const size_t count = (too_few + enough) / 2;
    const std::vector<SegmentMemory> memory = first_recomputed(order, count);
    const Stage stage = training.steps(memory);
    if (fits(stage)) best = {memory, stage, true};
    (fits(stage) ? enough : too_few) = count;
  }
  return best;
}

}  // namespace jointtuner::forecast
