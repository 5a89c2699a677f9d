// Fills options structs from JSON by their field lists. Private to the config module.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "jointtuner/base/error.h"
#include "jointtuner/base/field.h"
#include "jointtuner/base/nearest.h"
#include "jointtuner/base/retired_options.h"
#include "overrides.h"
#include "strict_json.h"

namespace jointtuner::config {

using Json = nlohmann::ordered_json;

template <class T>
struct ListOf : std::false_type {};
template <class T>
struct ListOf<std::vector<T>> : std::true_type {};
template <class T>
struct OptionalOf : std::false_type {};
template <class T>
struct OptionalOf<std::optional<T>> : std::true_type {};

inline std::string number_text(double number) { return fmt::format("{}", number); }

inline std::string range_text(const Range& range) {
  if (range.high == kUnbounded) return fmt::format("at least {}", number_text(range.low));
  return fmt::format("from {} to {}", number_text(range.low), number_text(range.high));
}

inline std::string list_text(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + (name.empty() ? std::string("\"\"") : name);
  return text;
}

class OptionReader {
 public:
  /// `origin` is the file's name for messages; `overrides` tells which values came from the command line. With
  /// `of_past_run` options that are gone are passed over whatever they say.
  OptionReader(std::string_view origin, const std::vector<Override>& overrides, bool of_past_run)
      : origin_(origin), overrides_(overrides), of_past_run_(of_past_run) {}

  template <Described T>
  void read(const Json& json, T& target, const std::string& path) const {
    if (!json.is_object()) fail(path, fmt::format("expected an object {{...}}, found {}", found_text(json)));
    std::vector<std::string> names;
    T::fields(target, [&](const char* name, auto& member, const char*, const auto&... limit) {
      names.emplace_back(name);
      if (!json.contains(name)) return;
      const std::string inner = path.empty() ? name : path + "." + name;
      if (of_past_run_ && retired_choice(inner, json.at(name)) != nullptr) return;
      (check_type(json.at(name), member, inner, limit), ...);
      read(json.at(name), member, inner);
      (check(json.at(name), member, inner, limit), ...);
    });
    for (const auto& [key, value] : json.items())
      if (std::find(names.begin(), names.end(), key) == names.end() && !is_retired(path, key, value))
        unknown(path, key, names);
  }

 private:
  template <class T>
  void read(const Json& json, std::vector<T>& target, const std::string& path) const {
    if (!json.is_array()) fail(path, fmt::format("expected a list [...], found {}", found_text(json)));
    target.clear();
    for (size_t i = 0; i < json.size(); ++i) read(json[i], target.emplace_back(), fmt::format("{}.{}", path, i));
  }

  template <class T>
  void read(const Json& json, std::optional<T>& target, const std::string& path) const {
    target.reset();
    if (!json.is_null()) read(json, target.emplace(), path);
  }

  void read(const Json& json, bool& target, const std::string& path) const;
  void read(const Json& json, int64_t& target, const std::string& path) const;
  void read(const Json& json, double& target, const std::string& path) const;
  void read(const Json& json, std::string& target, const std::string& path) const;

  /// Where only some words are allowed, anything but text is told which.
  template <class T, class Limit>
  void check_type(const Json& json, const T&, const std::string& path, const Limit& limit) const {
    if constexpr (std::is_same_v<T, std::string> && std::is_same_v<Limit, Choices>)
      if (!json.is_string())
        fail(path,
             fmt::format("expected one of {}, in double quotes; found {}", list_text(limit.names), found_text(json)));
  }

  template <class T, class Limit>
  void check(const Json& json, const T& value, const std::string& path, const Limit& limit) const {
    if constexpr (ListOf<T>::value) {
      for (size_t i = 0; i < value.size(); ++i) check(json[i], value[i], fmt::format("{}.{}", path, i), limit);
    } else if constexpr (OptionalOf<T>::value) {
      if (value) check(json, *value, path, limit);
    } else if constexpr (std::is_same_v<Limit, Range>) {
      const auto number = static_cast<double>(value);
      if (!(number >= limit.low && number <= limit.high))
        fail(path, fmt::format("expected a number {}, found {}", range_text(limit), found_text(json)));
    } else if (std::find(limit.names.begin(), limit.names.end(), value) == limit.names.end()) {
      if (const RetiredOption* gone = retired_choice(path, json))
        fail(path, fmt::format("{} is gone: {}", value, gone->advice));
      fail(path, fmt::format("expected one of {}; found {}{}", list_text(limit.names), found_text(json),
                             suggestion(value, limit.names)));
    }
  }

  static std::string suggestion(std::string_view word, const std::vector<std::string>& names);
  /// The choice that is gone, if `value` is one, else null.
  static const RetiredOption* retired_choice(const std::string& path, const Json& value);
  /// Whether it is an option that is gone, with the value that changed nothing; with another one it is an error.
  bool is_retired(const std::string& path, const std::string& key, const Json& value) const;
  [[noreturn]] void unknown(const std::string& path, const std::string& key,
                            const std::vector<std::string>& names) const;
  [[noreturn]] void fail(const std::string& path, const std::string& message) const;

  std::string origin_;
  const std::vector<Override>& overrides_;
  bool of_past_run_;
};

}  // namespace jointtuner::config
