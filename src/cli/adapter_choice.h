// Which adapters `sample` uses, and the sampling with each: --run with --checkpoint, or --adapter.
#pragma once
#include <c10/core/Device.h>

#include <filesystem>
#include <string>
#include <vector>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/backbone/bundle.h"
#include "jointtuner/sample/sampling.h"

namespace CLI {
class App;
}

namespace jointtuner::cli {

struct AdapterChoice {
  std::string run;                    ///< folder of a run, or ""
  std::vector<std::string> adapters;  ///< files, or folders of checkpoints or runs
  std::string checkpoint;             ///< of the run: all, last, a step; "" = last
};

void add_adapter_options(CLI::App& command, AdapterChoice& choice);

/// Headers of the chosen adapter files, the given ones in their order or the run's by ascending step; none: the frozen
/// backbone. Throws UsageError: no such file; a published .pt list (with how to convert it); a step without checkpoint
/// (naming those there are); gated and plain adapters together.
std::vector<adapter::AdapterFile> chosen_adapters(const AdapterChoice& choice);

/// Loads the denoiser once, then samples with one adapter after the other (without any: the frozen backbone) and frees
/// it. Labels are "step 500", with the file's or run's name before it where steps do not tell them apart.
std::vector<sample::Video> denoise_with(const std::vector<adapter::AdapterFile>& headers, sample::Sampling& sampling,
                                        const backbone::Bundle& bundle, c10::Device device,
                                        const std::filesystem::path& folder);

}  // namespace jointtuner::cli
