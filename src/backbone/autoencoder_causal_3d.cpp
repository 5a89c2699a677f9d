#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "autoencoder_kind.h"
#include "jointtuner/backbone/frozen_module.h"
#include "jointtuner/backbone/tiling.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::backbone {

namespace {

std::vector<MethodSignature> signatures(const std::string& name, const ChunkRule& rule) {
  std::vector<MethodSignature> result;
  for (const int64_t first : rule.first) result.push_back({fmt::format("{}_first_{}", name, first), 1});
  result.push_back({name + "_next", 2});
  return result;
}

/// "9" or "9 or 17": the numbers next to `frames` that the rule can cut.
std::string nearest_lengths(const ChunkRule& rule, int64_t frames) {
  const auto fits = [&](int64_t n) { return !chunk_lengths(rule, n).empty(); };
  int64_t below = frames, above = frames;
  while (below > 0 && !fits(below)) --below;
  // Up to `next` only `first` itself fits; from there on what fits repeats every `next` frames, if anything does.
  const int64_t most = std::max(frames, rule.first.back()) + rule.first.back() + rule.next;
  while (above <= most && !fits(above)) ++above;
  std::string text = below > 0 ? fmt::format("{}", below) : "";
  if (above <= most) text += fmt::format("{}{}", text.empty() ? "" : " or ", above);
  return text;
}

/// What later chunks need of earlier ones, tile by tile. Where a clip has several tiles and the device is not the CPU,
/// it waits on the host: the device holds one tile's.
class Caches {
 public:
  Caches(size_t tiles, at::Device device) : device_(device), caches_(tiles) {}

  void put(size_t tile, std::vector<Tensor> cache) { caches_[tile] = waits() ? moved(cache, at::kCPU) : cache; }

  std::vector<Tensor> taken(size_t tile) {
    std::vector<Tensor> cache = std::move(caches_[tile]);
    return waits() ? moved(cache, device_) : cache;
  }

 private:
  bool waits() const { return caches_.size() > 1 && !device_.is_cpu(); }

  static std::vector<Tensor> moved(std::vector<Tensor>& cache, at::Device device) {
    for (Tensor& tensor : cache) tensor = tensor.to(device);  // one by one: both copies of all are never there
    return std::move(cache);
  }

  at::Device device_;
  std::vector<std::vector<Tensor>> caches_;
};

struct Chunk {
  int64_t start = 0, frames = 0;
  bool last = false;
};

/// One direction, "encode" or "decode": the methods <name>_first_N and <name>_next. They are compiled when they are
/// first used, for a process needs two or three of the nine and each takes a while.
class ChunkMethods {
 public:
  // Keeps a reference to `module`.
  ChunkMethods(const FrozenModule& module, std::string name, ChunkRule rule, at::Device device)
      : module_(module), name_(std::move(name)), rule_(std::move(rule)), device_(device) {}

  /// The chunks of a clip. Throws Error, naming the nearest number of frames that can be cut, where this one cannot.
  std::vector<Chunk> chunks(int64_t frames) const {
    std::vector<Chunk> result;
    int64_t start = 0;
    for (const int64_t length : frames > 0 ? chunk_lengths(rule_, frames) : std::vector<int64_t>{}) {
      result.push_back({start, length, start + length == frames});
      start += length;
    }
    if (result.empty())
      throw Error(
          fmt::format("autoencoder: it cannot {} a clip of {} {}frames, the nearest is {}. Choose another length.",
                      name_, frames, name_ == "decode" ? "latent " : "", nearest_lengths(rule_, frames)));
    return result;
  }

  /// Runs [1,*,n,*,*], one chunk of one tile, and replaces the tile's cache.
  std::vector<Tensor> run(const Chunk& chunk, size_t tile, Tensor part, Caches& caches) const {
    FrozenMethod::Values arguments{{std::move(part)}};
    if (chunk.start > 0) arguments.list = caches.taken(tile);
    const FrozenMethod& method = compiled(chunk.start == 0 ? fmt::format("first_{}", chunk.frames) : "next");
    FrozenMethod::Values results = method.run(std::move(arguments));
    if (!results.list) throw Error(fmt::format("autoencoder: {} returned no cache. Export the bundle again.", name_));
    if (!chunk.last) caches.put(tile, std::move(*results.list));
    return std::move(results.tensors);
  }

 private:
  const FrozenMethod& compiled(const std::string& which) const {
    const std::lock_guard lock(mutex_);
    auto found = methods_.find(which);
    if (found == methods_.end())
      found = methods_.emplace(which, FrozenMethod(module_, fmt::format("{}_{}", name_, which), device_)).first;
    return found->second;
  }

  const FrozenModule& module_;
  std::string name_;
  ChunkRule rule_;
  at::Device device_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, FrozenMethod> methods_;
};

class AutoencoderCausal3d final : public AutoencoderKind {
 public:
  AutoencoderCausal3d(const Bundle& bundle, at::Device device)
      : AutoencoderCausal3d(bundle, bundle.manifest(), device) {}

  int64_t encoded_frames(int64_t frames) const override {
    encode_.chunks(frames);
    return latent_frames(latents_, frames);
  }
  int64_t decoded_frames(int64_t frames) const override {
    decode_.chunks(frames);
    return video_frames(latents_, frames);
  }

  void encode(const Tensor& clip, const AutoencoderOptions& options, Posterior& into) const override {
    const int64_t factor = latents_.spatial_compression;
    const Tiling tiling(clip.size(2) / factor, clip.size(3) / factor, options.encode_tile_px / factor);
    const bool tiled = tiling.count() > 1;
    Caches caches(tiling.count(), device_);
    int64_t frame = 0;
    for (const Chunk& chunk : encode_.chunks(clip.size(0))) {
      const Tensor pixels = clip.narrow(0, chunk.start, chunk.frames).to(device_, dtype_).transpose(0, 1).unsqueeze(0);
      const int64_t frames = latent_frames(latents_, chunk.frames);
      const auto encoded = [&](size_t index, const Tile& tile) {
        Tensor part = part_of(pixels, tile, factor);
        const std::vector<Tensor> posterior = encode_.run(chunk, index, std::move(part), caches);
        if (posterior.size() != 2)
          throw Error(fmt::format("autoencoder: encode returned {} tensors, expected mean and std", posterior.size()));
        for (const Tensor& half : posterior)
          check_shape(half, {1, latents_.channels, frames, tile.height, tile.width}, "posterior");
        return packed_posterior(posterior[0], posterior[1], tiled);
      };
      store_posterior(tiling.blended(1, encoded).squeeze(0).transpose(0, 1), tiled, frame, into);
      frame += frames;
    }
  }

  void decode(const Tensor& latents, const AutoencoderOptions& options, const Take& take) const override {
    const int64_t factor = latents_.spatial_compression;
    const Tiling tiling(latents.size(2), latents.size(3), options.tile_px / factor);
    Caches caches(tiling.count(), device_);
    int64_t frame = 0;
    for (const Chunk& chunk : decode_.chunks(latents.size(1))) {
      const Tensor z = latents.narrow(1, chunk.start, chunk.frames)
                           .to(device_, at::kFloat)
                           .div(latents_.scaling_factor)
                           .to(dtype_)
                           .unsqueeze(0);
      const Tensor pixels = tiling.blended(factor, [&](size_t index, const Tile& tile) {
        const Tensor part = decode_.run(chunk, index, part_of(z, tile, 1), caches).at(0);
        check_shape(part, {1, 3, -1, -1, -1}, "decoded pixels");
        return of_the_clip(part, chunk).to(at::kFloat);
      });
      take(frame, pixels.squeeze(0).transpose(0, 1));
      frame += pixels.size(2);
    }
  }

  bool slices_frames() const override { return false; }

 private:
  AutoencoderCausal3d(const Bundle& bundle, const Manifest& manifest, at::Device device)
      : latents_(manifest.latents),
        dtype_(manifest.autoencoder.dtype),
        device_(device),
        module_(bundle.file(manifest.autoencoder.file), device, all_signatures(manifest.autoencoder)),
        encode_(module_, "encode", manifest.autoencoder.encode, device),
        decode_(module_, "decode", manifest.autoencoder.decode, device) {}

  static std::vector<MethodSignature> all_signatures(const AutoencoderManifest& manifest) {
    std::vector<MethodSignature> all = signatures("encode", manifest.encode);
    for (MethodSignature& signature : signatures("decode", manifest.decode)) all.push_back(std::move(signature));
    return all;
  }

  /// A tile of [1,C,n,H,W], whose sides are `factor` times as many as the tile's latents.
  static Tensor part_of(const Tensor& chunk, const Tile& tile, int64_t factor) {
    return chunk.narrow(3, tile.y * factor, tile.height * factor)
        .narrow(4, tile.x * factor, tile.width * factor)
        .contiguous();
  }

  /// Those of a decoded chunk's frames [1,3,n,H,W] that the clip has. A decoder which doubles an even number of frames
  /// alike makes t frames of the first latent frame too, where the clip has one: the last of them, for each frame is
  /// computed from earlier ones only. (diffusers returns all of them, e.g. 16 frames of the latents of 13.)
  Tensor of_the_clip(const Tensor& pixels, const Chunk& chunk) const {
    const int64_t all = chunk.frames * latents_.temporal_compression;
    const int64_t wanted = chunk.start == 0 ? all - latents_.temporal_compression + 1 : all;
    if (pixels.size(2) != wanted && pixels.size(2) != all)
      throw Error(
          fmt::format("autoencoder: {} latent frames were decoded to {} frames, expected {}. Export the bundle "
                      "again.",
                      chunk.frames, pixels.size(2), wanted));
    return pixels.narrow(2, pixels.size(2) - wanted, wanted);
  }

  LatentsManifest latents_;
  c10::ScalarType dtype_;
  at::Device device_;
  FrozenModule module_;
  ChunkMethods encode_, decode_;
};

}  // namespace

std::unique_ptr<AutoencoderKind> autoencoder_causal_3d(const Bundle& bundle, at::Device device) {
  return std::make_unique<AutoencoderCausal3d>(bundle, device);
}

}  // namespace jointtuner::backbone
