#include "jointtuner/sample/latents_file.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "jointtuner/base/error.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::sample {
namespace {

constexpr std::string_view kFormat = "jointtuner-latents";
constexpr size_t kPromptCharacters = 40;

/// The settings in the header of a file of ours, checked for what `decode` reads of them.
std::string stated_settings(const std::filesystem::path& path, const Safetensors& file) {
  const auto format = file.metadata.find("format"), settings = file.metadata.find("settings");
  if (format == file.metadata.end() || format->second != kFormat) return "";
  const std::string text = settings == file.metadata.end() ? "" : settings->second;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto field = [&](const char* pointer) {
    return json.is_object() ? json.value(nlohmann::json::json_pointer(pointer), nlohmann::json()) : nlohmann::json();
  };
  for (const char* needed : {"/backbone/path", "/backbone/name", "/backbone/autoencoder_sha256"})
    if (!field(needed).is_string())
      throw Error(fmt::format("{}: the settings in its header: expected a text {}, found {}; sample it again",
                              path.string(), needed, field(needed).dump()));
  if (!field("/fps").is_number())
    throw Error(fmt::format("{}: the settings in its header: expected a number /fps, found {}; sample it again",
                            path.string(), field("/fps").dump()));
  return text;
}

LatentsFile checked(const std::filesystem::path& path, const Safetensors& file) {
  if (!file.contains("latents"))
    throw Error(fmt::format("{}: no latents file: expected a tensor named \"latents\", found {}", path.string(),
                            file.tensors.empty() ? "none" : fmt::format("\"{}\"", file.tensors.front().first)));
  const Tensor& latents = file.at("latents");
  check_shape(latents, {1, -1, -1, -1, -1}, fmt::format("{}: latents [1,C,F,h,w]", path.string()));
  if (!latents.is_floating_point() || latents.numel() == 0)
    throw Error(fmt::format("{}: latents: expected floating-point numbers, found {} of {}", path.string(),
                            shape_text(latents.sizes()), c10::toString(latents.scalar_type())));
  return {latents, stated_settings(path, file)};
}

/// Runs of ASCII letters and digits, in lower case.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9'))
      words.back().push_back(lower);
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

}  // namespace

void save_latents(const std::filesystem::path& path, const LatentsFile& file) {
  Safetensors stored;
  stored.tensors.emplace_back("latents", file.latents);
  stored.metadata = {{"format", std::string(kFormat)}, {"version", "1"}, {"settings", file.settings}};
  save_safetensors(path, stored);
}

LatentsFile load_latents(const std::filesystem::path& path) {
  LatentsFile file = checked(path, load_safetensors(path));
  file.latents = file.latents.to(at::kFloat);
  if (!at::isfinite(file.latents).all().item<bool>())
    throw Error(fmt::format("{}: latents: expected finite numbers, found NaN or infinity", path.string()));
  return file;
}

LatentsFile load_latents_header(const std::filesystem::path& path) {
  return checked(path, load_safetensors_header(path));
}

std::string video_name(int64_t number, std::string_view prompt, int64_t seed) {
  std::string joined;
  for (const std::string& word : words_of(prompt)) {
    if (!joined.empty() && joined.size() + 1 + word.size() > kPromptCharacters) break;
    if (!joined.empty()) joined.push_back('_');
    joined += word.substr(0, kPromptCharacters);
  }
  return fmt::format("{:03}_{}_s{}", number, joined.empty() ? "prompt" : joined, seed);
}

}  // namespace jointtuner::sample
