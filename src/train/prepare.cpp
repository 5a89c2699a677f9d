#include "jointtuner/train/prepare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>

#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/backbone/text_encoder.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/interrupt.h"
#include "jointtuner/base/pixels.h"
#include "jointtuner/base/progress.h"
#include "jointtuner/base/sha256.h"
#include "jointtuner/data/cache.h"

namespace jointtuner::train {

namespace {

using backbone::Bundle;
using backbone::Manifest;

std::string device_kind(at::Device device) { return c10::DeviceTypeName(device.type(), /*lower_case=*/true); }

/// Everything of the bundle that shapes an embedding: weights, tokenizer files, and how tokens are laid out.
data::EncoderIdentity text_encoder_identity(const Bundle& bundle, at::Device device) {
  const backbone::TextManifest& text = bundle.manifest().text;
  std::string parts = fmt::format("{} {} {}", bundle.sha256(text.file), text.max_length, text.attention_mask);
  for (const std::string& file : backbone::tokenizer_files(text)) parts += " " + bundle.sha256(file);
  if (const auto* clip = std::get_if<backbone::ClipBpeManifest>(&text.tokenizer)) {
    parts +=
        fmt::format(" {} {} {} {}", clip->bos_id, clip->eos_id, clip->pad_id, fmt::join(clip->normalized_ids, ","));
  } else if (const auto* pieces = std::get_if<backbone::SentencePieceManifest>(&text.tokenizer)) {
    parts += fmt::format(" {} {}", pieces->eos_id, pieces->pad_id);
    for (const text::SpecialToken& token : pieces->special_tokens)
      parts += fmt::format(" {}={}{}", token.id, token.text, token.strip ? " strip" : "");
  }
  return {sha256_hex(parts), c10::toString(text.dtype), device_kind(device)};
}

data::EncoderIdentity autoencoder_identity(const Bundle& bundle, at::Device device) {
  const backbone::AutoencoderManifest& autoencoder = bundle.manifest().autoencoder;
  return {bundle.sha256(autoencoder.file), c10::toString(autoencoder.dtype), device_kind(device)};
}

/// Shows how many of the missing entries are done and lets Ctrl-C in between them.
class Encoding {
 public:
  Encoding(std::string what, int64_t missing) : progress_("encoding " + what, missing) {}
  void began() const {
    if (interrupt_requested())
      throw Interrupted("stopped while encoding; what was encoded is in the cache. Give the same command to go on");
  }
  void done() { progress_.update(++done_); }

 private:
  Progress progress_;
  int64_t done_ = 0;
};

void encode_captions(PreparedData& prepared, const data::DataOptions& options, const Bundle& bundle,
                     at::Device device) {
  std::map<std::string, const data::Item*> captions;  // each with the first item that has it
  for (const data::Item& item : prepared.items()) captions.try_emplace(item.caption, &item);
  const data::TextCache cache(options, text_encoder_identity(bundle, device));
  const auto missing =
      std::count_if(captions.begin(), captions.end(), [&](const auto& entry) { return !cache.has(entry.first); });
  Encoding encoding("captions", missing);
  std::optional<backbone::TextEncoder> encoder;  // loaded at the first miss, freed on return
  for (const auto& [caption, item] : captions)
    prepared.set_embedding(caption, cache.get_or_make(caption, [&, captioned = item](const std::string& text) {
      encoding.began();
      if (!encoder) encoder.emplace(bundle, device);
      try {
        Tensor embedding = encoder->encode(text);
        encoding.done();
        return embedding;
      } catch (const Error& error) {
        throw Error(fmt::format("caption of {}: {}", captioned->path.string(), error.what()));
      }
    }));
}

void encode_items(PreparedData& prepared, const data::DataOptions& options, const Bundle& bundle, at::Device device) {
  const data::LatentCache cache(options, autoencoder_identity(bundle, device));
  const std::vector<data::ItemDraw> draws = data::all_draws(prepared.items(), options.image_flip);
  const auto missing = std::count_if(draws.begin(), draws.end(),
                                     [&](const data::ItemDraw& draw) { return !cache.has(prepared.item(draw), draw); });
  Encoding encoding("pictures and clips", missing);
  std::optional<backbone::Autoencoder> autoencoder;
  for (const data::ItemDraw& draw : draws)
    prepared.set_posterior(draw, cache.get_or_make(prepared.item(draw), draw, [&](const Tensor& frames) {
      encoding.began();
      if (!autoencoder)
        autoencoder.emplace(bundle, device, backbone::AutoencoderOptions{.encode_tile_px = options.encode_tile});
      Posterior posterior = autoencoder->encode(to_pixels(frames));
      encoding.done();
      return posterior;
    }));
}

}  // namespace

void check_sizes(const data::DataOptions& options, const Manifest& manifest) {
  const auto check = [&](int64_t frames) {
    backbone::check_video_size(manifest, {frames, options.height, options.width}, "data.");
  };
  if (!options.videos.empty()) check(options.frames);
  if (!options.images.empty()) check(1);
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
