#include "strict_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "jointtuner/base/error.h"

namespace jointtuner::config {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaximumDepth = 32;
constexpr size_t kFoundCharacters = 60;

std::string line_and_column(std::string_view text, size_t position) {
  const std::string_view before = text.substr(0, std::min(position, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("line {}, column {}", line, std::max<size_t>(1, before.size() - line_start));
}

/// What to do about the character at which reading stopped.
std::string advice(std::string_view text, size_t position) {
  if (position == 0 || position > text.size()) return "";
  const char offender = text[position - 1];
  const size_t before = position < 2 ? std::string_view::npos : text.find_last_not_of(" \t\r\n", position - 2);
  const bool after_comma = before != std::string_view::npos && text[before] == ',';
  if (offender == '/' || offender == '#') return "; JSON has no comments: use the text of \"about\"";
  if (offender == '\'') return "; text stands in double quotes";
  if (offender == 'T' || offender == 'F') return "; write true or false";
  if (after_comma && (offender == '}' || offender == ']')) return "; remove the comma after the last element";
  return "";
}

/// Walks the text and keeps nothing but where it is and which keys it has seen there.
class Walk : public nlohmann::json_sax<Json> {
 public:
  Walk(std::string_view text, std::string_view origin) : text_(text), origin_(origin) {}

  bool null() override { return next_element(); }
  bool boolean(bool) override { return next_element(); }
  bool number_integer(number_integer_t) override { return next_element(); }
  bool number_unsigned(number_unsigned_t) override { return next_element(); }
  bool number_float(number_float_t, const string_t&) override { return next_element(); }
  bool string(string_t&) override { return next_element(); }
  bool binary(binary_t&) override { return next_element(); }
  bool start_object(std::size_t) override { return enter(false); }
  bool start_array(std::size_t) override { return enter(true); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    level.place = name;
    if (!level.keys.insert(name).second)
      throw UsageError(fmt::format("{}: {}: this key occurs twice; keep one of them", origin_, path()));
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    std::string what = error.what();
    if (const size_t reason = what.rfind(" - "); reason != std::string::npos)
      what = what.substr(reason + 3);
    else if (const size_t colon = what.find(": "); colon != std::string::npos)
      what = what.substr(colon + 2);
    throw UsageError(fmt::format("{}: {}: not JSON: {}{}", origin_, line_and_column(text_, position), what,
                                 advice(text_, position)));
  }

 private:
  struct Level {
    bool is_list = false;
    size_t index = 0;
    std::string place;
    std::set<std::string> keys;
  };

  bool next_element() {
    if (!levels_.empty() && levels_.back().is_list) levels_.back().place = std::to_string(levels_.back().index++);
    return true;
  }

  bool enter(bool is_list) {
    next_element();
    levels_.push_back({is_list, 0, "", {}});
    if (levels_.size() > kMaximumDepth)
      throw UsageError(fmt::format("{}: nested more than {} levels deep; a config needs 4", origin_, kMaximumDepth));
    return true;
  }

  bool leave() {
    levels_.pop_back();
    return true;
  }

  std::string path() const {
    std::string joined;
    for (const Level& level : levels_) joined += (joined.empty() ? "" : ".") + level.place;
    return joined;
  }

  std::string_view text_;
  std::string_view origin_;
  std::vector<Level> levels_;
};

}  // namespace

nlohmann::ordered_json parse_strict_json(std::string_view text, std::string_view origin) {
  Walk walk(text, origin);
  Json::sax_parse(text, &walk);
  return Json::parse(text);
}

std::string found_text(const nlohmann::ordered_json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kFoundCharacters) text = text.substr(0, kFoundCharacters) + "...";
  return text;
}

}  // namespace jointtuner::config
