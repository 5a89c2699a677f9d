// One training run, put together from its config: data, bundle, adapters, trainer, previews, in the memory order of
// design.md section 7.
#pragma once
#include <c10/core/Device.h>

#include <filesystem>

#include "jointtuner/config/run_config.h"

namespace jointtuner::run {

/// Trains and returns the run's folder. Writes its config.json, facts.json (what the config led to: backbone, sites,
/// items) and, after each checkpoint and preview, its report.html. Throws what the parts throw; Interrupted after
/// Ctrl-C.
std::filesystem::path train_run(const config::RunConfig& config, c10::Device device, bool resume);

}  // namespace jointtuner::run
