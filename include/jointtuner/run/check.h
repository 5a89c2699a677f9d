// The looking that `check` does: every part of a run's config, without training and without touching a GPU's memory.
#pragma once
#include <string>

#include "jointtuner/config/run_config.h"
#include "jointtuner/run/problems.h"

namespace jointtuner::run {

/// The report, as text; whatever is wrong goes to `problems`. `origin` names the config in messages.
std::string check_report(const config::RunConfig& config, const std::string& origin, Problems& problems);

}  // namespace jointtuner::run
