#include "jointtuner/base/safetensors.h"

#include <ATen/core/TensorBase.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr uint64_t kLargestHeader = 100'000'000;  // the reference implementation's bound
constexpr std::array<std::pair<std::string_view, at::ScalarType>, 10> kTypes{{{"F64", at::kDouble},
                                                                              {"F32", at::kFloat},
                                                                              {"F16", at::kHalf},
                                                                              {"BF16", at::kBFloat16},
                                                                              {"I64", at::kLong},
                                                                              {"I32", at::kInt},
                                                                              {"I16", at::kShort},
                                                                              {"I8", at::kChar},
                                                                              {"U8", at::kByte},
                                                                              {"BOOL", at::kBool}}};

std::string_view type_name(at::ScalarType type) {
  for (const auto& [name, known] : kTypes)
    if (known == type) return name;
  throw Error(fmt::format("safetensors cannot hold tensors of type {}", at::toString(type)));
}

struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> sizes;
  uint64_t begin, end;
};

struct Header {
  std::vector<Entry> entries;  ///< by offset
  std::map<std::string, std::string> metadata;
  uint64_t data_offset = 0;
};

/// Turns one "name": {"dtype", "shape", "data_offsets"} into an entry; checks its length against its shape.
Entry parse_entry(const std::string& name, const json& value) {
  Entry entry{name, at::kFloat, {}, 0, 0};
  const std::string type = value.at("dtype").get<std::string>();
  const auto* known = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& pair) { return pair.first == type; });
  if (known == kTypes.end()) throw Error(fmt::format("tensor '{}' has the unknown dtype '{}'", name, type));
  entry.type = known->second;
  uint64_t bytes = at::elementSize(entry.type);
  for (const json& size : value.at("shape")) {
    const auto extent = size.get<uint64_t>();
    if (!size.is_number_unsigned() || __builtin_mul_overflow(bytes, extent, &bytes))
      throw Error(fmt::format("tensor '{}' has an impossible shape {}", name, value.at("shape").dump()));
    entry.sizes.push_back(static_cast<int64_t>(extent));
  }
  entry.begin = value.at("data_offsets").at(0).get<uint64_t>();
  entry.end = value.at("data_offsets").at(1).get<uint64_t>();
  if (entry.end < entry.begin || entry.end - entry.begin != bytes)
    throw Error(fmt::format("tensor '{}' {} needs {} bytes, its offsets give {}..{}", name, shape_text(entry.sizes),
                            bytes, entry.begin, entry.end));
  return entry;
}

Header parse_header(const json& root, uint64_t data_bytes) {
  Header header;
  for (const auto& [name, value] : root.items())
    if (name == "__metadata__")
      header.metadata = value.get<std::map<std::string, std::string>>();
    else
      header.entries.push_back(parse_entry(name, value));
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t position = 0;
  for (const Entry& entry : header.entries) {
    if (entry.begin != position)
      throw Error(fmt::format("tensor '{}' begins at byte {}, expected {} (overlap or hole)", entry.name, entry.begin,
                              position));
    position = entry.end;
  }
  if (position != data_bytes)
    throw Error(
        fmt::format("the header describes {} bytes of tensors, the file holds {} (truncated?)", position, data_bytes));
  return header;
}

Header read_header(std::ifstream& file, uint64_t file_bytes) {
  std::array<unsigned char, 8> prefix{};
  file.read(reinterpret_cast<char*>(prefix.data()), prefix.size());
  uint64_t header_bytes = 0;
  for (size_t i = prefix.size(); i-- > 0;) header_bytes = header_bytes << 8 | prefix[i];
  if (!file || header_bytes > kLargestHeader || header_bytes + prefix.size() > file_bytes)
    throw Error("not a safetensors file, or a truncated one (the header's length does not fit)");
  std::string text(header_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file || !root.is_object()) throw Error("not a safetensors file (the header is no JSON object)");
  Header header;
  try {
    header = parse_header(root, file_bytes - prefix.size() - header_bytes);
  } catch (const json::exception& error) {
    throw Error(fmt::format("the safetensors header is malformed: {}", error.what()));
  }
  header.data_offset = prefix.size() + header_bytes;
  return header;
}

Safetensors load(const fs::path& path, bool with_data) {
  std::ifstream file(path, std::ios::binary);
  std::error_code code;
  const uint64_t bytes = fs::file_size(path, code);
  if (!file || code)
    throw Error(fmt::format("{}: cannot be opened: {}", path.string(), code ? code.message() : std::strerror(errno)));
  try {
    Header header = read_header(file, bytes);
    Safetensors result;
    result.metadata = std::move(header.metadata);
    for (const Entry& entry : header.entries) {
      const at::Tensor tensor = at::empty(entry.sizes, at::device(with_data ? at::kCPU : at::kMeta).dtype(entry.type));
      if (with_data)
        file.read(static_cast<char*>(tensor.mutable_data_ptr()), static_cast<std::streamsize>(entry.end - entry.begin));
      if (!file) throw Error(fmt::format("reading tensor '{}' failed", entry.name));
      result.tensors.emplace_back(entry.name, tensor);
    }
    return result;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path.string(), error.what()));
  }
}

}  // namespace

bool Safetensors::contains(std::string_view name) const {
  return std::any_of(tensors.begin(), tensors.end(), [&](const auto& pair) { return pair.first == name; });
}

const at::Tensor& Safetensors::at(std::string_view name) const {
  for (const auto& [key, tensor] : tensors)
    if (key == name) return tensor;
  throw Error(fmt::format("the file has no tensor '{}'", name));
}

Safetensors load_safetensors(const fs::path& path) { return load(path, true); }
Safetensors load_safetensors_header(const fs::path& path) { return load(path, false); }

void save_safetensors(const fs::path& path, const Safetensors& contents) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!contents.metadata.empty()) header["__metadata__"] = contents.metadata;
  uint64_t position = 0;
  for (const auto& [name, tensor] : contents.tensors) {
    if (header.contains(name) || name == "__metadata__")
      throw Error(fmt::format("{}: two tensors are named '{}'", path.string(), name));
    const uint64_t end = position + tensor.nbytes();
    header[name] = {
        {"dtype", type_name(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}, {"data_offsets", {position, end}}};
    position = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // tensors start aligned, as the reference implementation writes them
  write_atomically(path, [&](const fs::path& temporary) {
    std::ofstream file(temporary, std::ios::binary);
    const uint64_t length = text.size();
    for (int i = 0; i < 8; ++i) file.put(static_cast<char>(length >> (8 * i) & 0xff));
    file << text;
    for (const auto& [name, tensor] : contents.tensors) {
      const at::Tensor plain = tensor.detach().cpu().contiguous();
      file.write(static_cast<const char*>(plain.const_data_ptr()), static_cast<std::streamsize>(plain.nbytes()));
    }
    file.close();
    if (!file) throw Error(std::strerror(errno));
  });
}

}  // namespace jointtuner
