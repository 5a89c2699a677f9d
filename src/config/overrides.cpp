#include "overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "jointtuner/base/error.h"
#include "strict_json.h"

namespace jointtuner::config {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts(1);
  for (const char c : path)
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

std::optional<size_t> index_of(const std::string& part) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
  return index;
}

/// The element of `list` with that index, made when it is the one after the last.
Json& element(Json& list, const std::string& part, const std::string& at, std::string_view text) {
  const auto index = index_of(part);
  if (!index)
    throw UsageError(fmt::format("--set {}: {} is a list, so an index from 0 to {} must follow, found \"{}\"", text, at,
                                 list.size(), part));
  if (*index > list.size())
    throw UsageError(fmt::format("--set {}: {} has {} element(s), so there is no index {}; {} appends", text, at,
                                 list.size(), *index, list.size()));
  if (*index == list.size()) list.push_back(nullptr);
  return list[*index];
}

Json& child(Json& parent, const std::string& part, const std::string& at, std::string_view text) {
  if (parent.is_null()) parent = index_of(part) ? Json::array() : Json::object();
  if (parent.is_array()) return element(parent, part, at, text);
  if (parent.is_object()) return parent[part];
  throw UsageError(
      fmt::format("--set {}: {} is {}, which has no parts; set it as a whole", text, at, found_text(parent)));
}

Json value_of(std::string_view value, std::string_view text) {
  if (Json::accept(value)) return parse_strict_json(value, fmt::format("--set {}", text));
  Json as_text = std::string(value);
  try {
    (void)as_text.dump();
  } catch (const Json::type_error&) {
    throw UsageError(fmt::format("--set {}: the value is not UTF-8 text", found_text(Json(std::string(text)))));
  }
  return as_text;
}

}  // namespace

Override apply_override(nlohmann::ordered_json& json, std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    throw UsageError(fmt::format("--set {}: expected path=value, for example --set train.steps=500", text));
  const std::string path(text.substr(0, equals));
  const auto parts = parts_of(path);
  if (std::any_of(parts.begin(), parts.end(), [](const std::string& part) { return part.empty(); }))
    throw UsageError(
        fmt::format("--set {}: the path \"{}\" has an empty part; expected keys joined by dots", text, path));
  const Json value = value_of(text.substr(equals + 1), text);
  Json* place = &json;
  std::string at = "the config";
  for (const std::string& part : parts) {
    place = &child(*place, part, at, text);
    at = at == "the config" ? part : at + "." + part;
  }
  *place = value;
  return {std::string(text), path};
}

}  // namespace jointtuner::config
