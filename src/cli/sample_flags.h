// The fields of SampleOptions as command-line flags: `--guidance 9` is `--set sample.guidance=9`.
#pragma once
#include <string>
#include <vector>

namespace CLI {

class App;

}

namespace jointtuner::cli {

/// Adds a flag for each field of sample::SampleOptions with a single value (--negative-prompt, --steps, ...), or for
/// the named ones only; what the user gives is appended to `overrides`, for config's --set.
void add_sample_flags(CLI::App& command, std::vector<std::string>& overrides,
                      const std::vector<std::string>& only = {});

}  // namespace jointtuner::cli
