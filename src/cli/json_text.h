// Words of the command line as JSON texts, for config's --set.
#pragma once
#include <string>

namespace jointtuner::cli {

/// `value` as a quoted JSON string; throws UsageError naming `option` when it is not UTF-8.
std::string json_text(const std::string& option, const std::string& value);

}  // namespace jointtuner::cli
