// Files of one JSON object a line, as metrics.jsonl and samples.jsonl are.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <vector>

namespace jointtuner {

/// The objects of a file, in order. A line that holds none is left out: a process that was killed leaves half of one.
/// Throws Error when the file cannot be read.
std::vector<nlohmann::ordered_json> json_lines(const std::filesystem::path& path);

}  // namespace jointtuner
