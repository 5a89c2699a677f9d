// The safetensors file format (github.com/huggingface/safetensors): 8 bytes header length, JSON header, raw tensors.
// Written bytes depend on the contents alone: tensors in the given order, metadata sorted by key.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace jointtuner {

struct Safetensors {
  std::vector<std::pair<std::string, at::Tensor>> tensors;  ///< in file order
  std::map<std::string, std::string> metadata;

  /// The tensor of that name; throws Error naming it when it is absent.
  const at::Tensor& at(std::string_view name) const;
  bool contains(std::string_view name) const;
};

/// Reads a whole file into CPU tensors. The header is checked completely (lengths, overlaps, dtype against shape, file
/// size) before anything is allocated; a damaged file is an Error that names the path and the first thing wrong.
Safetensors load_safetensors(const std::filesystem::path& path);

/// Reads the header alone: tensors are on the meta device, without data.
Safetensors load_safetensors_header(const std::filesystem::path& path);

/// Writes atomically. Tensors may be on any device and strided; they are stored contiguous.
void save_safetensors(const std::filesystem::path& path, const Safetensors& file);

}  // namespace jointtuner
