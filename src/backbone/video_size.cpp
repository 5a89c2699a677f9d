#include "jointtuner/backbone/video_size.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>

#include "jointtuner/base/error.h"

namespace jointtuner::backbone {
namespace {

/// Sides a backbone takes: multiples of `multiple` up to `most`.
struct SideRule {
  int64_t multiple = 1;
  int64_t most = std::numeric_limits<int64_t>::max();
};

SideRule side_rule(const Manifest& manifest, int64_t latent_multiple, int64_t Rope3d::* base) {
  SideRule rule{manifest.latents.spatial_compression * latent_multiple};
  const auto* rope = std::get_if<Rope3d>(&manifest.denoiser.positional);
  if (rope != nullptr && rope->grid == "slice")
    rule.most = rope->*base * rope->patch * manifest.latents.spatial_compression / rule.multiple * rule.multiple;
  return rule;
}

void check_side(std::string_view name, int64_t pixels, const SideRule& rule) {
  if (pixels > 0 && pixels <= rule.most && pixels % rule.multiple == 0) return;
  const int64_t below = std::min(pixels / rule.multiple * rule.multiple, rule.most), above = below + rule.multiple;
  std::string nearest = below > 0 ? fmt::format("{}", below) : "";
  if (above <= rule.most) nearest += fmt::format("{}{}", nearest.empty() ? "" : " or ", std::max(above, rule.multiple));
  const std::string limit = pixels > rule.most ? fmt::format(" up to {}", rule.most) : "";
  throw UsageError(fmt::format("{}: {} px, but this backbone takes multiples of {}{}; use {}", name, pixels,
                               rule.multiple, limit, nearest));
}

bool takes_frames(const Manifest& manifest, int64_t frames) {
  if (frames < 1 || (frames - 1) % manifest.latents.temporal_compression != 0) return false;
  const AutoencoderManifest& autoencoder = manifest.autoencoder;
  return autoencoder.encode.first.empty() ||
         (!chunk_lengths(autoencoder.encode, frames).empty() &&
          !chunk_lengths(autoencoder.decode, latent_frames(manifest.latents, frames)).empty());
}

void check_frames(std::string_view name, const Manifest& manifest, int64_t frames) {
  if (takes_frames(manifest, frames)) return;
  constexpr int64_t kMost = 1 << 20;
  int64_t below = frames, above = std::max<int64_t>(frames, 1);
  while (below > 0 && !takes_frames(manifest, below)) --below;
  while (above < kMost && !takes_frames(manifest, above)) ++above;
  std::string nearest = below > 0 ? fmt::format("{}", below) : "";
  if (above < kMost) nearest += fmt::format("{}{}", nearest.empty() ? "" : " or ", above);
  throw UsageError(fmt::format("{}: this backbone does not take {} frames; use {}", name, frames, nearest));
}

}  // namespace

void check_video_size(const Manifest& manifest, const VideoSize& size, std::string_view prefix) {
  const DenoiserManifest& denoiser = manifest.denoiser;
  check_side(fmt::format("{}height", prefix), size.height,
             side_rule(manifest, denoiser.height_multiple, &Rope3d::base_height));
  check_side(fmt::format("{}width", prefix), size.width,
             side_rule(manifest, denoiser.width_multiple, &Rope3d::base_width));
  check_frames(fmt::format("{}frames", prefix), manifest, size.frames);
}

int64_t latent_frames(const LatentsManifest& latents, int64_t frames) {
  return (frames - 1) / latents.temporal_compression + 1;
}

int64_t video_frames(const LatentsManifest& latents, int64_t latent_frames) {
  return (latent_frames - 1) * latents.temporal_compression + 1;
}

std::vector<int64_t> latents_shape(const Manifest& manifest, const VideoSize& size) {
  const int64_t multiple = manifest.denoiser.frames_multiple;
  const int64_t padded = (latent_frames(manifest.latents, size.frames) + multiple - 1) / multiple * multiple;
  return {1, manifest.latents.channels, padded, size.height / manifest.latents.spatial_compression,
          size.width / manifest.latents.spatial_compression};
}

Tensor padded_frames(const Tensor& latents, int64_t frames_multiple) {
  const int64_t frames = latents.size(2), missing = (frames_multiple - frames % frames_multiple) % frames_multiple;
  if (missing == 0) return latents;
  return at::cat({latents.narrow(2, 0, 1).expand({-1, -1, missing, -1, -1}), latents}, 2);
}

Tensor without_padding(const Tensor& latents, int64_t frames) {
  return latents.narrow(2, latents.size(2) - frames, frames);
}

std::vector<int64_t> chunk_lengths(const ChunkRule& rule, int64_t frames) {
  const int64_t chunks = std::max<int64_t>(frames / rule.next, 1), first = frames - (chunks - 1) * rule.next;
  if (std::find(rule.first.begin(), rule.first.end(), first) == rule.first.end()) return {};
  std::vector<int64_t> lengths(static_cast<size_t>(chunks), rule.next);
  lengths.front() = first;
  return lengths;
}

}  // namespace jointtuner::backbone
