// Encoded latents and captions on disk, keyed by content and by everything that shapes the result: nothing in it can be
// stale.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "jointtuner/base/posterior.h"
#include "jointtuner/data/joint_batches.h"

namespace jointtuner::data {

using at::Tensor;

/// options.cache, or the user's cache folder (base/cache_folder.h). Throws Error when neither is set.
std::filesystem::path cache_folder(const DataOptions& options);

/// Ordered (name, value) pairs; the key is the SHA-256 of their text.
using CacheKey = std::vector<std::pair<std::string, std::string>>;
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
std::string cache_key_hash(const CacheKey& key);

/// FOLDER/<first two hex digits>/<key hash>.safetensors, the key's pairs in the header.
/// Several processes may share a folder: files appear complete or not at all, and two that make the same one agree.
class TensorCache {
 public:
  // Makes the folder. Throws Error that names data.cache when it cannot.
  explicit TensorCache(std::filesystem::path folder);

  bool has(const CacheKey& key) const;  ///< there is a file; it may yet prove damaged
  std::filesystem::path file_of(const CacheKey& key) const;

  /// The stored tensors (CPU), or make()'s (any device), stored first. A file that is damaged, or carries another key,
  /// is remade with a warning. What is returned is always what a later run reads: contiguous CPU tensors.
  NamedTensors get_or_make(const CacheKey& key, const std::function<NamedTensors()>& make) const;

 private:
  std::filesystem::path folder_;
};

/// What, besides the item, the draw and DataOptions, shapes encoded latents or captions.
struct EncoderIdentity {
  std::string sha256;  ///< of the TorchScript file (text: of all files that matter, joined by the caller)
  std::string dtype;   ///< that it computes in
  std::string device;  ///< "cpu" or "cuda": their rounding differs
};

/// Posteriors of items: any shape, e.g. mean and std [F,C,h,w].
class LatentCache {
 public:
  LatentCache(const DataOptions& options, EncoderIdentity autoencoder);
  bool has(const Item& item, const ItemDraw& draw) const;
  /// make gets load_frames(item, draw, options), uint8 [F,H,W,3]; the file is read and fitted only when the cache lacks
  /// the result.
  Posterior get_or_make(const Item& item, const ItemDraw& draw,
                        const std::function<Posterior(const Tensor& frames)>& make) const;

 private:
  CacheKey key(const Item& item, const ItemDraw& draw) const;
  DataOptions options_;
  EncoderIdentity autoencoder_;
  TensorCache cache_;
};

/// Prompt embeddings of captions, e.g. [1,L,D].
class TextCache {
 public:
  TextCache(const DataOptions& options, EncoderIdentity text_encoder);
  bool has(const std::string& caption) const;
  Tensor get_or_make(const std::string& caption, const std::function<Tensor(const std::string& caption)>& make) const;

 private:
  CacheKey key(const std::string& caption) const;
  EncoderIdentity text_encoder_;
  TensorCache cache_;
};

}  // namespace jointtuner::data
