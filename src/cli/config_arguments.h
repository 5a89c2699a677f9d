// Which config a command works on: --config and --set.
#pragma once
#include <string>
#include <vector>

#include "jointtuner/config/run_config.h"
#include "machine.h"

namespace jointtuner::cli {

struct ConfigArguments {
  std::string file;
  std::vector<std::string> changes;
};

void add_config_options(CLI::App& command, ConfigArguments& arguments);

/// The file with the changes applied, and those of the machine's options after them.
config::RunConfig loaded_config(const ConfigArguments& arguments, const Machine& machine);

}  // namespace jointtuner::cli
