#include "jointtuner/forecast/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "jointtuner/backbone/decode_within_memory.h"
#include "jointtuner/backbone/tiling.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/error.h"

namespace jointtuner::forecast {

namespace {

struct Step {
  std::string settings, cost;
};

/// Changes `work`, or says that it has nothing (more) to change.
using Lever = std::function<std::optional<Step>(Work& work)>;

std::optional<Step> accumulate(Work& work) {
  if (work.train.batch == 1 || (work.adapter.gate && work.adapter.gate_pooling != "sample")) return std::nullopt;
  work.train.accumulation *= work.train.batch;
  work.train.batch = 1;
  return Step{fmt::format("train.batch=1 train.accumulation={}", work.train.accumulation),
              "the same gradients, little time"};
}

std::optional<Step> recompute(Work& work) {
  const auto& now = work.segment_memory;
  if (std::find(now.begin(), now.end(), inject::SegmentMemory::keep) == now.end()) return std::nullopt;
  work.segment_memory = {inject::SegmentMemory::recompute};
  return Step{"train.activation_checkpointing=on", "about a third more time a step"};
}

std::optional<Step> offload(Work& work) {
  if (work.segment_memory == std::vector{inject::SegmentMemory::offload}) return std::nullopt;
  work.segment_memory = {inject::SegmentMemory::offload};
  return Step{"train.activation_checkpointing=offload", "copies to the host and back, beside the computation"};
}

std::optional<Step> halve_rank(Work& work) {
  constexpr int64_t kLeast = 16;
  if (work.adapter.rank / 2 < kLeast) return std::nullopt;
  work.adapter.rank /= 2;
  return Step{fmt::format("adapter.rank={}", work.adapter.rank), "half the adapter"};
}

bool takes(const backbone::Manifest& manifest, const backbone::VideoSize& size) {
  try {
    backbone::check_video_size(manifest, size);
    return true;
  } catch (const UsageError&) {
    return false;
  }
}

/// About half as many as `frames`; 0 if there is no smaller number that the backbone takes at its preferred size.
int64_t fewer(const backbone::Manifest& manifest, int64_t frames) {
  for (int64_t less = (frames - 1) / 2 + 1; less > 0 && less < frames; --less)
    if (takes(manifest, {less, manifest.preferred.height, manifest.preferred.width})) return less;
  return 0;
}

Lever fewer_frames(const backbone::Manifest& manifest, const char* option, int64_t& (*frames)(Work&)) {
  return [&manifest, option, frames](Work& work) -> std::optional<Step> {
    const int64_t less = fewer(manifest, frames(work));
    if (less == 0) return std::nullopt;
    frames(work) = less;
    return Step{fmt::format("{}={}", option, less), "shorter clips"};
  };
}

/// Tiles of half the side, as decode_within_memory halves them.
Lever smaller_tiles(const backbone::Manifest& manifest, const char* option, int64_t& (*tile)(Work&), int64_t side) {
  return [&manifest, option, tile, side](Work& work) -> std::optional<Step> {
    const int64_t factor = manifest.latents.spatial_compression;
    const int64_t now = tile(work) == 0 ? side : std::min(side, tile(work));
    const int64_t latents = now / factor / 2;
    if (latents < backbone::kSmallestTileLatents || backbone::tile_step(latents) == 0) return std::nullopt;
    tile(work) = latents * factor;
    return Step{fmt::format("{}={}", option, latents * factor), "faint seams"};
  };
}

std::optional<Step> single_frames(Work& work) {
  if (work.sample.decode_slice == 1) return std::nullopt;
  work.sample.decode_slice = 1;
  return Step{"sample.decode_slice=1", "little time"};
}

std::optional<Step> sample_later(Work& work) {
  if (!work.previews) return std::nullopt;
  work.previews = false;
  return Step{"preview.every=0", "videos by `jointtuner sample` after the run"};
}

[[noreturn]] void fail_unknown(const std::string& stage) {
  throw Error(fmt::format(
      "there is no stage '{}' of a run; expected encode text, encode latents, train, preview or decode", stage));
}

std::vector<Lever> levers(const backbone::Manifest& manifest, const Work& work, const std::string& stage) {
  const Lever decode_tiles = smaller_tiles(
      manifest, "sample.decode_tile", [](Work& w) -> int64_t& { return w.sample.decode_tile; },
      std::max(work.sample.height, work.sample.width));
  const Lever encode_tiles = smaller_tiles(
      manifest, "data.encode_tile", [](Work& w) -> int64_t& { return w.data.encode_tile; },
      std::max(work.data.height, work.data.width));
  if (stage == "train") {
    std::vector<Lever> found{accumulate, recompute, offload, halve_rank};
    if (!work.data.videos.empty())
      found.push_back(fewer_frames(manifest, "data.frames", [](Work& w) -> int64_t& { return w.data.frames; }));
    return found;
  }
  if (stage == "encode latents") return {encode_tiles};
  if (stage == "preview")
    return {sample_later, fewer_frames(manifest, "sample.frames", [](Work& w) -> int64_t& { return w.sample.frames; })};
  if (stage == "decode") {
    std::vector<Lever> found{decode_tiles, sample_later};
    if (manifest.autoencoder.kind == "2d") found.insert(found.begin(), single_frames);
    return found;
  }
  if (stage == "encode text") return {};  // one caption as it is
  fail_unknown(stage);
}

Stage forecast_of(const backbone::Bundle& bundle, const Work& work, const std::string& stage, c10::Device described) {
  if (stage == "encode text") return encode_text(bundle, described);
  if (stage == "encode latents") return encode_latents(bundle, work, described);
  if (stage == "train") return train(bundle, work, described);
  if (stage == "preview") return preview(bundle, work, described);
  if (stage == "decode") return decode(bundle, work, described);
  fail_unknown(stage);
}

}  // namespace

int64_t required(const Stage& stage, c10::Device described) {
  if (!described.is_cuda()) return stage.peak();
  return stage.peak() + stage.rounding + kCublasWorkspace + kCudnnWorkspace;
}

int64_t usable(int64_t memory, c10::Device described) {
  return described.is_cuda() ? std::max<int64_t>(memory - kCudaContext, 0) : memory;
}

std::vector<Change> changes_to_fit(const backbone::Bundle& bundle, Work work, const std::string& stage, int64_t free,
                                   c10::Device described) {
  std::vector<Change> changes;
  for (const Lever& lever : levers(bundle.manifest(), work, stage)) {
    while (const std::optional<Step> step = lever(work)) {
      Change change{step->settings, step->cost, forecast_of(bundle, work, stage, described), false};
      change.fits = required(change.stage, described) <= free;
      changes.push_back(std::move(change));
      if (changes.back().fits) return changes;
    }
  }
  return changes;
}

}  // namespace jointtuner::forecast
