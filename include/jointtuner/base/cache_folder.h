// Where the program keeps what it can make again.
#pragma once
#include <filesystem>

namespace jointtuner {

/// $XDG_CACHE_HOME/jointtuner, else ~/.cache/jointtuner; empty where neither XDG_CACHE_HOME nor HOME is set.
std::filesystem::path user_cache_folder();

}  // namespace jointtuner
