#include "jointtuner/data/cache.h"

#include <fmt/format.h>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/cache_folder.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/base/sha256.h"
#include "jointtuner/data/pixels.h"

namespace jointtuner::data {
namespace fs = std::filesystem;
namespace {

/// Changes whenever the meaning of a stored tensor does: picking, fitting, layout.
constexpr const char* kFormat = "jointtuner-cache-1";

/// Of the values: the file format itself would not notice a changed byte in them.
std::string values_hash(const NamedTensors& tensors) {
  Sha256 hash;
  for (const auto& [name, tensor] : tensors)
    hash.update(name).update({static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()});
  return hash.hex();
}

std::map<std::string, std::string> header_of(const CacheKey& key, const NamedTensors& tensors) {
  std::map<std::string, std::string> header(key.begin(), key.end());
  header["values_sha256"] = values_hash(tensors);
  return header;
}

NamedTensors stored(const fs::path& file, const CacheKey& key) {
  Safetensors found = load_safetensors(file);
  if (found.metadata != header_of(key, found.tensors))
    throw Error(fmt::format("{}: its header does not fit its key and values", file.string()));
  return std::move(found.tensors);
}

Tensor tensor_named(const NamedTensors& tensors, std::string_view name) {
  for (const auto& [found, tensor] : tensors)
    if (found == name) return tensor;
  throw Error(fmt::format("a cached result has no tensor \"{}\"", name));
}

CacheKey encoder_key(const char* what, const EncoderIdentity& encoder) {
  return {{"format", kFormat},
          {"what", what},
          {"encoder", encoder.sha256},
          {"dtype", encoder.dtype},
          {"device", encoder.device}};
}

}  // namespace

fs::path cache_folder(const DataOptions& options) {
  if (!options.cache.empty()) return options.cache;
  if (fs::path folder = user_cache_folder(); !folder.empty()) return folder;
  throw Error("no folder for cached latents: neither data.cache nor XDG_CACHE_HOME nor HOME is set; set data.cache");
}

std::string cache_key_hash(const CacheKey& key) {
  Sha256 hash;
  for (const auto& [name, value] : key)
    hash.update(fmt::format("{}:{}={}:{}\n", name.size(), name, value.size(), value));
  return hash.hex();
}

TensorCache::TensorCache(fs::path folder) : folder_(std::move(folder)) {
  std::error_code failure;
  fs::create_directories(folder_, failure);
  if (failure)
    throw Error(
        fmt::format("{}: this folder for cached latents cannot be made: {}; set data.cache to one that can be written",
                    folder_.string(), failure.message()));
}

fs::path TensorCache::file_of(const CacheKey& key) const {
  const std::string hash = cache_key_hash(key);
  return folder_ / hash.substr(0, 2) / (hash + ".safetensors");
}

bool TensorCache::has(const CacheKey& key) const { return fs::exists(file_of(key)); }

NamedTensors TensorCache::get_or_make(const CacheKey& key, const std::function<NamedTensors()>& make) const {
  const fs::path file = file_of(key);
  if (fs::exists(file)) {
    try {
      return stored(file, key);
    } catch (const Error& error) {
      log_warning(fmt::format("a cached file cannot be used and is made again: {}", error.what()));
    }
  }
  Safetensors made;
  for (const auto& [name, tensor] : make()) made.tensors.emplace_back(name, tensor.detach().to(at::kCPU).contiguous());
  made.metadata = header_of(key, made.tensors);
  make_folder(file.parent_path());
  save_safetensors(file, made);
  return std::move(made.tensors);
}

LatentCache::LatentCache(const DataOptions& options, EncoderIdentity autoencoder)
    : options_(options), autoencoder_(std::move(autoencoder)), cache_(cache_folder(options) / "latents") {}

CacheKey LatentCache::key(const Item& item, const ItemDraw& draw) const {
  CacheKey key = encoder_key("posterior", autoencoder_);
  const bool is_video = item.kind == Kind::video;
  key.insert(key.end(), {{"content", item.content_hash},
                         {"kind", is_video ? "video" : "image"},
                         {"height", fmt::format("{}", options_.height)},
                         {"width", fmt::format("{}", options_.width)},
                         {"resize", options_.resize},
                         {"flip", draw.flip ? "1" : "0"}});
  if (is_video)
    key.insert(key.end(), {{"frames", fmt::format("{}", options_.frames)},
                           {"fps", fmt::format("{}", options_.fps)},
                           {"start_s", fmt::format("{}", item.clip_starts_s.at(static_cast<size_t>(draw.clip)))}});
  if (options_.encode_tile > 0) key.emplace_back("encode_tile", fmt::format("{}", options_.encode_tile));
  return key;
}

bool LatentCache::has(const Item& item, const ItemDraw& draw) const { return cache_.has(key(item, draw)); }

Posterior LatentCache::get_or_make(const Item& item, const ItemDraw& draw,
                                   const std::function<Posterior(const Tensor& frames)>& make) const {
  const NamedTensors tensors = cache_.get_or_make(key(item, draw), [&]() -> NamedTensors {
    const Posterior posterior = make(load_frames(item, draw, options_));
    return {{"mean", posterior.mean}, {"std", posterior.std}};
  });
  return {tensor_named(tensors, "mean"), tensor_named(tensors, "std")};
}

TextCache::TextCache(const DataOptions& options, EncoderIdentity text_encoder)
    : text_encoder_(std::move(text_encoder)), cache_(cache_folder(options) / "captions") {}

CacheKey TextCache::key(const std::string& caption) const {
  CacheKey key = encoder_key("prompt_embedding", text_encoder_);
  key.emplace_back("caption", caption);
  return key;
}

bool TextCache::has(const std::string& caption) const { return cache_.has(key(caption)); }

Tensor TextCache::get_or_make(const std::string& caption,
                              const std::function<Tensor(const std::string& caption)>& make) const {
  return tensor_named(
      cache_.get_or_make(key(caption), [&]() -> NamedTensors { return {{"prompt_embedding", make(caption)}}; }),
      "prompt_embedding");
}

}  // namespace jointtuner::data
