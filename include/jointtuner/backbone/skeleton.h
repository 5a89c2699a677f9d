// Skeletons: bundles with all shapes and dtypes of a full-size backbone and no weights, for forecasts of memory alone
// (tests/pipelines/skeleton.py). Their manifest is called skeleton.json in place of bundle.json, so that nothing
// takes one for a bundle: Bundle::open refuses the folder, naming what it is.
#pragma once
#include "jointtuner/backbone/bundle.h"

namespace jointtuner::backbone {

inline constexpr const char* kSkeletonName = "skeleton.json";

/// Whether the folder holds a skeleton.
bool is_skeleton(const std::filesystem::path& folder);

/// Opens a bundle, or a skeleton, for whoever looks at shapes only. Throws as Bundle::open does.
Bundle open_for_shapes(const std::filesystem::path& folder, Verify verify = Verify::changed);

}  // namespace jointtuner::backbone
