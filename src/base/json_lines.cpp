#include "jointtuner/base/json_lines.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "jointtuner/base/atomic_file.h"

namespace jointtuner {

std::vector<nlohmann::ordered_json> json_lines(const std::filesystem::path& path) {
  std::vector<nlohmann::ordered_json> objects;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);)
    if (auto json = nlohmann::ordered_json::parse(line, nullptr, false); json.is_object())
      objects.push_back(std::move(json));
  return objects;
}

}  // namespace jointtuner
