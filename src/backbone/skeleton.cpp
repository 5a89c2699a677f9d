#include "jointtuner/backbone/skeleton.h"

namespace jointtuner::backbone {

namespace fs = std::filesystem;

bool is_skeleton(const fs::path& folder) {
  std::error_code none;
  return fs::is_regular_file(folder / kSkeletonName, none);
}

Bundle open_for_shapes(const fs::path& folder, Verify verify) {
  return Bundle::open(is_skeleton(folder) ? folder / kSkeletonName : folder, verify);
}

}  // namespace jointtuner::backbone
