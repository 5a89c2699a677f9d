// JSON text as configs are written in: RFC 8259 and nothing else. Private to config.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace jointtuner::config {

/// Parses `text`, keeping the order of keys. Throws UsageError "<origin>: line L, column C: ..." for anything that is
/// not JSON (comments and trailing commas included, with advice), and "<origin>: <path>: ..." for a key that occurs
/// twice in an object and for more than 32 levels of nesting. Paths are written as for --set: `data.videos.0.path`.
nlohmann::ordered_json parse_strict_json(std::string_view text, std::string_view origin);

/// `value` as JSON for a message, cut after 60 characters.
std::string found_text(const nlohmann::ordered_json& value);

}  // namespace jointtuner::config
