// The looking that `check` does: every part of a run's config, without training and without touching a GPU's memory.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "jointtuner/config/run_config.h"

namespace jointtuner::run {

using Json = nlohmann::ordered_json;

/// What a config leads to, as one object; what could not be looked at is absent:
///
///   ok          bool: there are no problems
///   backbone    {name, family, dtype, prediction, preferred: {width, height, frames, fps}, skeleton: bool}
///   adapters    {rank, gate: "sample" | "batch" | null, sites, parameters, groups: [{group, sites, parameters}]}
///   data        {width, height, frames, fps, resize}
///   sources     [{kind: "picture" | "clip", items: [...], skipped: [{path, reason}]}], an item being
///               {path, caption, tokens, width, height, duration_s (clips), crop: {width, height, left, top},
///               fitted: {width, height}, clips: [{start_s, times_s: [seconds]}]}
///   prompts     [{prompt, tokens}]
///   samples     {prompts, seeds, width, height, frames, steps, sampler, guidance, guidance_schedule, preview_every}
///   run         {folder, device, steps, last_checkpoint: step | null}
///   memory      see memory_report.h
///   problems    [text]
///
/// tokens: {count: N | null where the text has none, most: N}, or null where nothing counts them. Sizes are in pixels.
/// `origin` names the config in problems.
Json check_report(const config::RunConfig& config, const std::string& origin);

/// The report for reading, a line or more for each part.
std::string check_text(const Json& report);

}  // namespace jointtuner::run
