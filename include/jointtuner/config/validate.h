// Rules that tie several options of a config together. Rules of one option alone stand on its line in options.h.
#pragma once
#include <string_view>

#include "jointtuner/config/run_config.h"

namespace jointtuner::config {

/// Throws UsageError "<origin>: <path>: ..." for the first broken rule: run.name is one folder name; run.device is
/// auto, cpu, cuda or cuda:N; run.memory is an amount or ""; every source has a path, and a picture no start; not both
/// loss weights 0; train.warmup_steps at most train.steps; beta1, beta2 below 1 and epsilon above 0; no seed twice; eta
/// only with ddim; a noise prior has both a video and a strength; previews have a prompt and a seed.
void validate(const RunConfig& config, std::string_view origin);

/// What `train` and `check` need besides: a bundle and at least one source. Throws UsageError.
void validate_for_training(const RunConfig& config, std::string_view origin);

}  // namespace jointtuner::config
