#include "jointtuner/adapter/trainable_rank.h"

#include <fmt/format.h>

#include <algorithm>

#include "jointtuner/base/error.h"

namespace jointtuner::adapter {

void check_trainable_rank(const std::vector<Site>& sites, int64_t rank) {
  for (const Site& site : sites) {
    const int64_t largest = std::min(site.in_features, site.out_features);
    if (rank > largest)
      throw Error(fmt::format("rank {} is too large for the site {} with {} inputs and {} outputs; choose at most {}",
                              rank, site.path, site.in_features, site.out_features, largest));
  }
}

}  // namespace jointtuner::adapter
