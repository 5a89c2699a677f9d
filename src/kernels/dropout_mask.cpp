#include "jointtuner/kernels/dropout_mask.h"

#include <fmt/format.h>

#include <cmath>

#include "jointtuner/base/error.h"

namespace jointtuner::kernels {

uint64_t dropout_threshold(double probability) {
  if (!(probability >= 0 && probability < 1))
    throw Error(fmt::format("dropout: expected a probability in [0, 1), found {}", probability));
  return static_cast<uint64_t>(std::llround(probability * 4294967296.0));
}

}  // namespace jointtuner::kernels
