#include "jointtuner/base/cards.h"

namespace jointtuner {

std::vector<Card> cards() { return {}; }
std::optional<CudaVersions> cuda_versions() { return std::nullopt; }
std::string_view cuda_architectures() { return ""; }

}  // namespace jointtuner
