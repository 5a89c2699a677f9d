// `--set a.b=v`: changes of a config on the command line, made to the JSON before it is read. Private to config.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace jointtuner::config {

/// One `--set`: `text` as the user gave it, `path` its part before the first '='.
struct Override {
  std::string text;
  std::string path;
};

/// Applies `text` = "path=value" to `json`.
/// - The path's parts are keys, or indices of lists counted from 0: `data.videos.0.path`. Missing objects and lists on
///   the way are made; the index that follows a list's last element appends.
/// - The value is taken as JSON when it is JSON (true, 12, 1e-4, "12", ["a","b"]), else as text. So `False` is text,
///   which a true-or-false option then refuses.
///
/// Throws UsageError: no '=', an empty part, a path through something that is neither object nor list, an index that a
/// list does not have, a value that is not UTF-8.
Override apply_override(nlohmann::ordered_json& json, std::string_view text);

}  // namespace jointtuner::config
