#include "jointtuner/base/cache_folder.h"

#include <cstdlib>

namespace jointtuner {

std::filesystem::path user_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    return std::filesystem::path(cache) / "jointtuner";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::filesystem::path(home) / ".cache" / "jointtuner";
  return {};
}

}  // namespace jointtuner
