#include "jointtuner/adapter/adapter_file.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "jointtuner/base/error.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::adapter {
namespace {

namespace fs = std::filesystem;

const std::string kFormat = "jointtuner-adapter";
const std::string kVersion = "1";
const std::string kDown = "lora_down", kUp = "lora_up", kGate = "lora_gate";

/// The file's own entries, which are not trained_with.
std::map<std::string, std::string> own_entries(const AdapterMetadata& metadata) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"rank", fmt::format("{}", metadata.rank)},
          {"scale", fmt::format("{}", metadata.scale)},
          {"dropout", fmt::format("{}", metadata.dropout)},
          {"gated", metadata.gated ? "true" : "false"},
          {"gate_pooling", gate_pooling_text(metadata.gate_pooling)},
          {"family", metadata.family},
          {"denoiser_sha256", metadata.denoiser_sha256},
          {"step", fmt::format("{}", metadata.step)},
          {"data_hash", metadata.data_hash}};
}

/// Takes the entries of a header's metadata; what is missing or malformed is an Error that names the entry.
class MetadataReader {
 public:
  MetadataReader(const std::map<std::string, std::string>& entries, const fs::path& path)
      : entries_(entries), path_(path) {}

  const std::string& text(const std::string& key) const {
    const auto found = entries_.find(key);
    if (found == entries_.end())
      throw Error(fmt::format("{}: the metadata entry \"{}\" is missing", path_.string(), key));
    return found->second;
  }

  template <class Number>
  Number number(const std::string& key) const {
    const std::string& value = text(key);
    Number parsed{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (error != std::errc() || end != value.data() + value.size()) malformed(key, "a number");
    return parsed;
  }

  std::string choice(const std::string& key, const std::vector<std::string>& choices) const {
    const std::string& value = text(key);
    if (std::find(choices.begin(), choices.end(), value) == choices.end())
      malformed(key, fmt::format("{}", fmt::join(choices, " or ")));
    return value;
  }

 private:
  [[noreturn]] void malformed(const std::string& key, const std::string& expected) const {
    throw Error(
        fmt::format("{}: metadata entry \"{}\": expected {}, found \"{}\"", path_.string(), key, expected, text(key)));
  }

  const std::map<std::string, std::string>& entries_;
  const fs::path& path_;
};

void check_format(const Safetensors& file, const fs::path& path) {
  const auto format = file.metadata.find("format");
  if (format == file.metadata.end() || format->second != kFormat)
    throw Error(fmt::format("{}: expected an adapter file (metadata format \"{}\"), found {}", path.string(), kFormat,
                            format == file.metadata.end() ? "safetensors without it" : "\"" + format->second + "\""));
  const auto version = file.metadata.find("version");
  if (version == file.metadata.end() || version->second != kVersion)
    throw Error(
        fmt::format("{}: expected version {} of the adapter format, found \"{}\"; use a jointtuner of its version",
                    path.string(), kVersion, version == file.metadata.end() ? "" : version->second));
}

AdapterMetadata metadata_of(const Safetensors& file, const fs::path& path) {
  check_format(file, path);
  const MetadataReader read(file.metadata, path);
  AdapterMetadata metadata;
  metadata.rank = read.number<int64_t>("rank");
  metadata.scale = read.number<double>("scale");
  metadata.dropout = read.number<double>("dropout");
  metadata.gated = read.choice("gated", {"true", "false"}) == "true";
  metadata.gate_pooling = gate_pooling_from_text(read.choice("gate_pooling", {"sample", "batch"}));
  metadata.family = read.text("family");
  metadata.denoiser_sha256 = read.text("denoiser_sha256");
  metadata.step = read.number<int64_t>("step");
  metadata.data_hash = read.text("data_hash");
  metadata.trained_with = file.metadata;
  for (const auto& [key, value] : own_entries(metadata)) metadata.trained_with.erase(key);
  return metadata;
}

/// "a.b.lora_up" -> {"a.b", "lora_up"}; an Error for any other ending.
std::pair<std::string, std::string> split_key(const std::string& key, const fs::path& path) {
  const size_t dot = key.rfind('.');
  const std::string role = dot == std::string::npos ? "" : key.substr(dot + 1);
  if (role != kDown && role != kUp && role != kGate)
    throw Error(
        fmt::format("{}: tensor {}: expected a name ending in .{}, .{} or .{}", path.string(), key, kDown, kUp, kGate));
  return {key.substr(0, dot), role};
}

void check_tensor(const std::string& key, const Tensor& tensor, const AdapterMetadata& metadata, const fs::path& path) {
  const auto [site, role] = split_key(key, path);
  const std::string what = fmt::format("{}: tensor {}", path.string(), key);
  if (tensor.scalar_type() != at::kFloat)
    throw Error(fmt::format("{}: expected dtype float32, found {}", what, c10::toString(tensor.scalar_type())));
  if (role == kDown) check_shape(tensor, {metadata.rank, -1}, what);
  if (role == kUp) check_shape(tensor, {-1, metadata.rank}, what);
  if (role == kGate) check_shape(tensor, {1, -1}, what);
  if (!tensor.is_meta() && !at::isfinite(tensor).all().item<bool>())
    throw Error(fmt::format("{}: holds a NaN or an infinity", what));
}

void check_complete(const AdapterFile& file) {
  std::map<std::string, std::set<std::string>> roles;
  std::vector<std::string> order;
  for (const auto& [key, tensor] : file.tensors) {
    const auto [site, role] = split_key(key, file.path);
    if (!roles.contains(site)) order.push_back(site);
    roles[site].insert(role);
  }
  if (order.empty()) throw Error(fmt::format("{}: holds no adapters", file.path.string()));
  for (const std::string& site : order) {
    for (const std::string& role : {kDown, kUp})
      if (!roles[site].contains(role))
        throw Error(fmt::format("{}: tensor {}.{} is missing", file.path.string(), site, role));
    if (roles[site].contains(kGate) != file.metadata.gated)
      throw Error(fmt::format("{}: tensor {}.{} {}, although the metadata says gated {}", file.path.string(), site,
                              kGate, file.metadata.gated ? "is missing" : "is there", file.metadata.gated));
  }
}

AdapterFile checked(Safetensors&& contents, const fs::path& path) {
  AdapterFile file{path, metadata_of(contents, path), std::move(contents.tensors)};
  if (file.metadata.rank < 1)
    throw Error(
        fmt::format("{}: metadata entry \"rank\": expected at least 1, found {}", path.string(), file.metadata.rank));
  for (const auto& [key, tensor] : file.tensors) check_tensor(key, tensor, file.metadata, path);
  check_complete(file);
  return file;
}

/// Throws unless the file's sites are exactly the backbone's.
void check_same_sites(const AdapterFile& file, const std::vector<Site>& sites) {
  std::set<std::string> ours;
  for (const Site& site : sites) ours.insert(site.path);
  std::set<std::string> theirs;
  std::string extra;
  size_t matched = 0;
  for (const auto& [key, tensor] : file.tensors) {
    const std::string site = split_key(key, file.path).first;
    if (!theirs.insert(site).second) continue;
    if (ours.contains(site))
      ++matched;
    else if (extra.empty())
      extra = site;
  }
  const auto refuse = [&](const std::string& what) {
    throw Error(fmt::format("{}: {} ({} of its {} sites match the backbone's {}); it belongs to another backbone",
                            file.path.string(), what, matched, theirs.size(), sites.size()));
  };
  if (matched == 0) refuse(fmt::format("no site matches: its first is {}", extra));
  for (const Site& site : sites)
    if (!theirs.contains(site.path)) refuse(fmt::format("the site {} is missing", site.path));
  if (!extra.empty()) refuse(fmt::format("the backbone has no site {}", extra));
}

}  // namespace

void save_adapter(const fs::path& path, const AdapterSet& adapters, const AdapterMetadata& metadata) {
  if (metadata.rank != adapters.rank() || metadata.gated != adapters.gated())
    throw Error(fmt::format("{}: metadata says rank {}, gated {}; the adapters have rank {}, gated {}", path.string(),
                            metadata.rank, metadata.gated, adapters.rank(), adapters.gated()));
  if (const std::string offender = adapters.first_non_finite(); !offender.empty())
    throw Error(fmt::format("{}: not written: {} holds a NaN or an infinity", path.string(), offender));
  Safetensors file;
  file.metadata = own_entries(metadata);
  for (const auto& [key, value] : metadata.trained_with)
    if (!file.metadata.emplace(key, value).second)
      throw Error(fmt::format("{}: not written: {} is no setting of the training", path.string(), key));
  for (size_t i = 0; i < adapters.size(); ++i) {
    const std::string& site = adapters.sites()[i].path;
    const SiteAdapter& adapter = adapters.at(i);
    file.tensors.emplace_back(site + "." + kDown, adapter.down.detach());
    file.tensors.emplace_back(site + "." + kUp, adapter.up.detach());
    if (adapter.gate.defined()) file.tensors.emplace_back(site + "." + kGate, adapter.gate.detach());
  }
  save_safetensors(path, file);
}

AdapterFile load_adapter(const fs::path& path) { return checked(load_safetensors(path), path); }

AdapterFile load_adapter_header(const fs::path& path) { return checked(load_safetensors_header(path), path); }

AdapterSet match_adapter(const AdapterFile& file, const std::vector<Site>& sites, const std::string& denoiser_sha256,
                         at::Device device) {
  const AdapterMetadata& metadata = file.metadata;
  if (!metadata.denoiser_sha256.empty() && metadata.denoiser_sha256 != denoiser_sha256)
    throw Error(
        fmt::format("{}: was trained on another backbone (family {}, denoiser SHA-256 {}) than this bundle's (denoiser "
                    "SHA-256 {})",
                    file.path.string(), metadata.family, metadata.denoiser_sha256, denoiser_sha256));
  check_same_sites(file, sites);
  std::map<std::string, Tensor> tensors(file.tensors.begin(), file.tensors.end());
  AdapterSet adapters(sites, metadata.rank, metadata.gated, device);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < sites.size(); ++i) {
    const auto copy = [&](const Tensor& target, const std::string& role) {
      const std::string key = sites[i].path + "." + role;
      check_shape(tensors.at(key), {target.size(0), target.size(1)},
                  fmt::format("{}: tensor {}", file.path.string(), key));
      target.copy_(tensors.at(key));
    };
    copy(adapters.at(i).down, kDown);
    copy(adapters.at(i).up, kUp);
    if (metadata.gated) copy(adapters.at(i).gate, kGate);
  }
  return adapters;
}

}  // namespace jointtuner::adapter
