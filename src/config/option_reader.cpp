#include "option_reader.h"

namespace jointtuner::config {
namespace {

std::string boolean_advice(const Json& json) {
  if (!json.is_string()) return "";
  std::string word = json.get<std::string>();
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (word == "true" || word == "yes" || word == "on") return "; write true, without quotes";
  if (word == "false" || word == "no" || word == "off") return "; write false, without quotes";
  return "";
}

/// For "12" where 12 is meant.
std::string number_advice(const Json& json) {
  if (!json.is_string()) return "";
  const Json inner = Json::parse(json.get<std::string>(), nullptr, false);
  return inner.is_number() ? "; write it without quotes" : "";
}

bool within(const std::string& path, const std::string& outer) {
  return path == outer || path.starts_with(outer + ".");
}

}  // namespace

void OptionReader::read(const Json& json, bool& target, const std::string& path) const {
  if (!json.is_boolean())
    fail(path, fmt::format("expected true or false, found {}{}", found_text(json), boolean_advice(json)));
  target = json.get<bool>();
}

void OptionReader::read(const Json& json, int64_t& target, const std::string& path) const {
  const bool too_large = json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (!json.is_number_integer() || too_large)
    fail(path, fmt::format("expected a whole number, found {}{}", found_text(json), number_advice(json)));
  target = json.get<int64_t>();
}

void OptionReader::read(const Json& json, double& target, const std::string& path) const {
  if (!json.is_number())
    fail(path, fmt::format("expected a number, found {}{}", found_text(json), number_advice(json)));
  target = json.get<double>();
}

void OptionReader::read(const Json& json, std::string& target, const std::string& path) const {
  if (!json.is_string()) {
    const std::string advice = json.is_primitive() ? "; write it in double quotes" : "";
    fail(path, fmt::format("expected text in double quotes, found {}{}", found_text(json), advice));
  }
  target = json.get<std::string>();
}

std::string OptionReader::suggestion(std::string_view word, const std::vector<std::string>& names) {
  const std::string near = nearest(word, names);
  return near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near);
}

const RetiredOption* OptionReader::retired_choice(const std::string& path, const Json& value) {
  return value.is_string() ? jointtuner::retired_choice(path, value.get<std::string>()) : nullptr;
}

bool OptionReader::is_retired(const std::string& path, const std::string& key, const Json& value) const {
  const std::string option = path.empty() ? key : path + "." + key;
  const RetiredOption* gone = retired_option(option);
  if (gone == nullptr) return false;
  if (of_past_run_ || value == Json::parse(gone->neutral)) return true;
  fail(option, fmt::format("{} is gone, expected {} or nothing: {}", found_text(value), gone->neutral, gone->advice));
}

void OptionReader::unknown(const std::string& path, const std::string& key,
                           const std::vector<std::string>& names) const {
  const std::string printable = found_text(Json(key));
  const std::string shown = printable.substr(1, printable.size() - 2);
  fail(path.empty() ? shown : path + "." + shown,
       fmt::format("unknown key{}{} Allowed here: {}", suggestion(key, names), nearest(key, names).empty() ? "." : "",
                   list_text(names)));
}

void OptionReader::fail(const std::string& path, const std::string& message) const {
  const auto changed = std::find_if(overrides_.rbegin(), overrides_.rend(), [&](const Override& change) {
    return within(path, change.path) || within(change.path, path);
  });
  const std::string where =
      changed == overrides_.rend() ? origin_ : fmt::format("{} with --set {}", origin_, changed->text);
  throw UsageError(fmt::format("{}: {}{}", where, path.empty() ? "" : path + ": ", message));
}

}  // namespace jointtuner::config
