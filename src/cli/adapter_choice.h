// Which adapters `sample` uses: --run with --checkpoint, or --adapter.
#pragma once
#include <string>
#include <vector>

#include "jointtuner/adapter/adapter_file.h"

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

}  // namespace jointtuner::cli
