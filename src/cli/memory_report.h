// A run's memory, forecast and set against what there is: for check, and for train before it begins.
#pragma once
#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "jointtuner/config/run_config.h"
#include "jointtuner/forecast/stage.h"
#include "problems.h"

namespace jointtuner::cli {

/// What forecast needs of a config; previews as the run makes them.
forecast::Work forecast_work(const config::RunConfig& config, const backbone::Manifest& manifest);

/// The device that `check` describes: the CPU only where the config names it, for a plan can be made without the card.
c10::Device described_device(const config::RunConfig& config);

/// The table of all stages for `check`. With config.run.memory also what does not fit, and what to change, with a
/// forecast of each change; each stage that does not fit is a problem.
std::string memory_report(const config::RunConfig& config, const backbone::Bundle& bundle, Problems& problems);

/// What each checkpoint segment is to hold: as train.activation_checkpointing says, or with "auto" the cheapest choice
/// that fits. Throws Error when training or a preview is forecast to need more than run.memory, or without it than the
/// card has free; it names what to change. Only warns for a decode, which goes on in tiles by itself, and on the CPU
/// without run.memory, where the host may yet swap.
std::vector<inject::SegmentMemory> segments_that_fit(const config::RunConfig& config, const backbone::Bundle& bundle,
                                                     c10::Device device);

}  // namespace jointtuner::cli
