// Adapter files: safetensors with the keys `<site path>.lora_down` [R,K], `.lora_up` [M,R] and, when gated,
// `.lora_gate` [1,K], all fp32, in site order, and a header whose metadata says what the adapter belongs to and how it
// was trained.
//
// Metadata (all values text, as safetensors asks): format "jointtuner-adapter", version "1", rank, scale, dropout,
// gated (true|false), gate_pooling (sample|batch), family, denoiser_sha256, step, data_hash. Every other entry is a
// setting of the training, for readers to show: nothing here depends on it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/adapter/gate_pooling.h"
#include "jointtuner/adapter/site.h"

namespace jointtuner::adapter {

/// What an adapter file states about itself.
struct AdapterMetadata {
  int64_t rank = 0;
  double scale = 1.0;    ///< factor on the update during training; sampling multiplies its own factor with it
  double dropout = 0.0;  ///< of the training run
  bool gated = true;
  GatePooling gate_pooling = GatePooling::sample;
  std::string family;           ///< bundle family, e.g. "unet3d"
  std::string denoiser_sha256;  ///< of the bundle's denoiser file; "" = unknown (imported from a published list)
  int64_t step = 0;             ///< optimiser steps done
  std::string data_hash;        ///< of the items it was trained on; "" = unknown
  std::map<std::string, std::string> trained_with;  ///< further settings of the training: "loss_video" -> "ait"

  bool operator==(const AdapterMetadata&) const = default;
};

/// A file's contents, not yet tied to a backbone.
struct AdapterFile {
  std::filesystem::path path;
  AdapterMetadata metadata;
  std::vector<std::pair<std::string, Tensor>> tensors;  ///< key -> fp32 CPU tensor, in file order
};

/// Writes `adapters` atomically; equal adapters and metadata give equal bytes. Throws Error when `metadata.rank` or
/// `metadata.gated` does not describe the set, `metadata.trained_with` has an entry of the file's own (named above), a
/// value is not finite (named), or the file cannot be written.
void save_adapter(const std::filesystem::path& path, const AdapterSet& adapters, const AdapterMetadata& metadata);

/// Reads and checks a file by itself: format, version, every metadata field, each key's suffix, each site complete,
/// fp32, shapes that agree with the rank and with each other, finite values. Throws Error naming the file and the first
/// offender.
AdapterFile load_adapter(const std::filesystem::path& path);

/// As load_adapter, but only the header is read: tensors are on the meta device and values are not checked.
AdapterFile load_adapter_header(const std::filesystem::path& path);

/// The file's adapter as a set for `sites` of the backbone whose denoiser file has the hash `denoiser_sha256`.
/// Throws Error naming the file and the first offender: another backbone (a file with an empty hash is taken, its
/// shapes decide), no site in common, a site of the backbone missing, a site the backbone does not have, a wrong shape.
AdapterSet match_adapter(const AdapterFile& file, const std::vector<Site>& sites, const std::string& denoiser_sha256,
                         at::Device device);

}  // namespace jointtuner::adapter
