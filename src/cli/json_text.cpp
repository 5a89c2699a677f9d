#include "json_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "jointtuner/base/error.h"

namespace jointtuner::cli {

std::string json_text(const std::string& option, const std::string& value) {
  try {
    return nlohmann::json(value).dump();
  } catch (const nlohmann::json::type_error&) {
    throw UsageError(fmt::format("{}: expected a text in UTF-8, found other bytes in \"{}\"", option, value));
  }
}

}  // namespace jointtuner::cli
