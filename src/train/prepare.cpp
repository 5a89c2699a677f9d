#include "jointtuner/train/prepare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>

#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/backbone/text_encoder.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/interrupt.h"
#include "jointtuner/base/progress.h"
#include "jointtuner/base/sha256.h"
#include "jointtuner/data/cache.h"
#include "jointtuner/data/pixels.h"

namespace jointtuner::train {

namespace {

using backbone::Bundle;
using backbone::Manifest;

std::string device_kind(at::Device device) { return c10::DeviceTypeName(device.type(), /*lower_case=*/true); }

/// Everything of the bundle that shapes an embedding: weights, tokenizer files, and how tokens are laid out.
data::Encoder text_encoder_identity(const Bundle& bundle, at::Device device) {
  const backbone::TextManifest& text = bundle.manifest().text;
  const std::string parts =
      fmt::format("{} {} {} {} {} {} {} {} {} {}", bundle.sha256(text.file), bundle.sha256(text.vocab),
                  bundle.sha256(text.merges), text.tokenizer, text.max_length, text.bos_id, text.eos_id, text.pad_id,
                  fmt::join(text.normalized_ids, ","), text.attention_mask);
  return {sha256_hex(parts), c10::toString(bundle.manifest().dtype), device_kind(device)};
}

data::Encoder autoencoder_identity(const Bundle& bundle, at::Device device) {
  return {bundle.sha256(bundle.manifest().autoencoder.file), c10::toString(bundle.manifest().dtype),
          device_kind(device)};
}

/// Shows how many of the missing entries are done and lets Ctrl-C in between them.
class Encoding {
 public:
  Encoding(std::string what, int64_t missing) : progress_("encoding " + what, missing) {}
  void began() const {
    if (interrupt_requested()) {
      throw Interrupted("stopped while encoding; what was encoded is in the cache. Give the same command to go on");
    }
  }
  void done() { progress_.update(++done_); }

 private:
  Progress progress_;
  int64_t done_ = 0;
};

void encode_captions(PreparedData& prepared, const data::DataOptions& options, const Bundle& bundle,
                     at::Device device) {
  std::map<std::string, const data::Item*> captions;  // each with the first item that has it
  for (const data::Item& item : prepared.items()) {
    captions.try_emplace(item.caption, &item);
  }
  const data::TextCache cache(options, text_encoder_identity(bundle, device));
  const auto missing =
      std::count_if(captions.begin(), captions.end(), [&](const auto& entry) { return !cache.has(entry.first); });
  Encoding encoding("captions", missing);
  std::optional<backbone::TextEncoder> encoder;  // loaded at the first miss, freed on return
  for (const auto& [caption, item] : captions) {
    prepared.set_embedding(caption, cache.get_or_make(caption, [&](const std::string& text) {
      encoding.began();
      if (!encoder) {
        encoder.emplace(bundle, device);
      }
      try {
        Tensor embedding = encoder->encode(text);
        encoding.done();
        return embedding;
      } catch (const Error& error) {
        throw Error(fmt::format("caption of {}: {}", item->path.string(), error.what()));
      }
    }));
  }
}

void encode_items(PreparedData& prepared, const data::DataOptions& options, const Bundle& bundle, at::Device device) {
  const data::LatentCache cache(options, autoencoder_identity(bundle, device));
  const std::vector<data::Draw> draws = data::all_draws(prepared.items(), options.image_flip);
  const auto missing = std::count_if(draws.begin(), draws.end(),
                                     [&](const data::Draw& draw) { return !cache.has(prepared.item(draw), draw); });
  Encoding encoding("pictures and clips", missing);
  std::optional<backbone::Autoencoder> autoencoder;
  for (const data::Draw& draw : draws) {
    prepared.set_posterior(draw, cache.get_or_make(prepared.item(draw), draw, [&](const Tensor& frames) {
      encoding.began();
      if (!autoencoder) {
        autoencoder.emplace(bundle, device);
      }
      const backbone::Posterior posterior = autoencoder->encode(data::to_pixels(frames));
      encoding.done();
      return data::Posterior{posterior.mean, posterior.std};
    }));
  }
}

void check_side(const char* name, int64_t pixels, int64_t multiple) {
  if (pixels % multiple == 0) {
    return;
  }
  const int64_t below = pixels / multiple * multiple;
  throw UsageError(fmt::format("data.{}: {} px, but this backbone takes multiples of {}; use {}{}", name, pixels,
                               multiple, below > 0 ? fmt::format("{} or ", below) : "", below + multiple));
}

bool frames_fit(int64_t frames, const Manifest& manifest) {
  const int64_t compression = manifest.latents.temporal_compression;
  if (frames < 1 || (frames - 1) % compression != 0) {
    return false;
  }
  const int64_t latent_frames = (frames - 1) / compression + 1;
  const backbone::DenoiserManifest& denoiser = manifest.denoiser;
  return latent_frames >= denoiser.frames_minimum &&
         latent_frames % denoiser.frames_multiple == denoiser.frames_remainder;
}

void check_frames(int64_t frames, const Manifest& manifest) {
  if (frames_fit(frames, manifest)) {
    return;
  }
  constexpr int64_t kSearch = 1000;
  std::string allowed;
  for (int64_t distance = 1; distance < kSearch && allowed.empty(); ++distance) {
    for (const int64_t candidate : {frames - distance, frames + distance}) {
      if (frames_fit(candidate, manifest)) {
        allowed += fmt::format("{}{}", allowed.empty() ? "" : " or ", candidate);
      }
    }
  }
  throw UsageError(fmt::format("data.frames: this backbone does not take {} frames; use {}", frames, allowed));
}

}  // namespace

void check_sizes(const data::DataOptions& options, const Manifest& manifest) {
  check_side("height", options.height, manifest.latents.spatial_compression * manifest.denoiser.height_multiple);
  check_side("width", options.width, manifest.latents.spatial_compression * manifest.denoiser.width_multiple);
  if (!options.videos.empty()) {
    check_frames(options.frames, manifest);
  }
  if (!options.images.empty() && !frames_fit(1, manifest)) {
    throw UsageError("data.images: this backbone does not take clips of one frame; train it on videos only");
  }
}

PreparedData prepare(std::vector<data::Item> items, const data::DataOptions& options, const Bundle& bundle,
                     at::Device device) {
  check_sizes(options, bundle.manifest());
  PreparedData prepared(std::move(items));
  encode_captions(prepared, options, bundle, device);
  encode_items(prepared, options, bundle, device);
  return prepared;
}

}  // namespace jointtuner::train
