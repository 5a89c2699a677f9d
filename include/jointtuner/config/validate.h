// Rules that tie the sections of a config together. Those of one option or one section stand in its options.h.
#pragma once
#include <string_view>

#include "jointtuner/config/run_config.h"

namespace jointtuner::config {

/// Throws UsageError "<origin>: <path>: ..." for the first broken rule: run.name is one folder name; run.device is
/// auto, cpu, cuda or cuda:N; run.memory is an amount or ""; every source has a path, and a picture no start; not both
/// loss weights 0; the rules of TrainOptions and SampleOptions; previews have a prompt and a seed.
void validate(const RunConfig& config, std::string_view origin);

/// What `train` and `check` need besides: a bundle and at least one source. Throws UsageError.
void validate_for_training(const RunConfig& config, std::string_view origin);

}  // namespace jointtuner::config
