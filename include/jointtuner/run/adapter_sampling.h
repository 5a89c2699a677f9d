// The same prompts and seeds with one adapter after the other.
#pragma once
#include <c10/core/Device.h>

#include <filesystem>
#include <vector>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/backbone/bundle.h"
#include "jointtuner/sample/sampling.h"

namespace jointtuner::run {

/// Loads the denoiser once, then samples with one adapter after the other (without any: the frozen backbone) and frees
/// it. Labels are "step 500", with the file's or run's name before it where steps do not tell them apart.
std::vector<sample::Video> denoise_with(const std::vector<adapter::AdapterFile>& headers, sample::Sampling& sampling,
                                        const backbone::Bundle& bundle, c10::Device device,
                                        const std::filesystem::path& folder);

}  // namespace jointtuner::run
