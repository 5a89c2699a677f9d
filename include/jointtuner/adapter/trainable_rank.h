// The ranks that are worth training.
#pragma once
#include <cstdint>
#include <vector>

#include "jointtuner/adapter/site.h"

namespace jointtuner::adapter {

/// Throws Error when `rank` is above min(K, M) of a site, naming that site: U D can have no higher rank. Two adapters
/// joined to one (joined.h) may still have more rows than that.
void check_trainable_rank(const std::vector<Site>& sites, int64_t rank);

}  // namespace jointtuner::adapter
