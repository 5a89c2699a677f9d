// The sizes that samples of a run have.
#pragma once
#include "jointtuner/data/options.h"
#include "jointtuner/sample/options.h"

namespace jointtuner::run {

/// `options` with open sizes and rate filled from a run's data: what its previews use, and `sample --run`.
sample::SampleOptions with_sizes(sample::SampleOptions options, const data::DataOptions& data);

}  // namespace jointtuner::run
