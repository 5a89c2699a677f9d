// One training run, put together from its config: data, bundle, adapters, trainer, previews. Of the frozen models one
// at a time is in memory (train/prepare.h).
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
