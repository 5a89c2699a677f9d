#include "jointtuner/base/gpus.h"

namespace jointtuner {

std::vector<Gpu> gpus() { return {}; }
std::optional<CudaVersions> cuda_versions() { return std::nullopt; }
std::string_view cuda_architectures() { return ""; }

}  // namespace jointtuner
