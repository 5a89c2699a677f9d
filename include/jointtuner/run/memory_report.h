// A run's memory, forecast and set against what there is: for check, and for train before it begins.
#pragma once
#include <c10/core/Device.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "jointtuner/backbone/bundle.h"
#include "jointtuner/config/run_config.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/run/problems.h"

namespace jointtuner::run {

using Json = nlohmann::ordered_json;

/// The forecast of all stages, for `check`: of a GPU, unless run.device is cpu, for a plan can be made without the GPU.
/// With run.memory also which changes make fit what does not, each with its own forecast; each stage that does not fit
/// is a problem. All numbers are bytes.
///
///   on           "GPU" | "CPU"
///   limit        run.memory, or null
///   segments     what train.activation_checkpointing "auto" comes to; absent otherwise
///   stages       [{name, weights, adapters, activations, peak, needs}], with a limit also
///                {fits, changes: [{settings, needs, fits, cost}]}
///   allowances   {cublas, cudnn, context}: on a GPU the first two are in `needs`, the context comes on top of it
Json memory_report(const config::RunConfig& config, const backbone::Bundle& bundle, Problems& problems);

/// That as a table, with what does not fit below it.
std::string memory_text(const Json& report);

/// GraphOptions::segment_memory of a training run on `device`: as train.activation_checkpointing says, for "auto" the
/// cheapest choice that fits. Throws Error, naming what to change, when training or a preview is forecast to need more
/// than run.memory, or without it than the GPU has free. Only warns about the decode of previews, which goes on in
/// tiles by itself, and on the CPU without run.memory, where the system may yet find some.
std::vector<inject::SegmentMemory> segments_that_fit(const config::RunConfig& config, const backbone::Bundle& bundle,
                                                     c10::Device device);

}  // namespace jointtuner::run
