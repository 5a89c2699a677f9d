// Where a command runs: the options that every command has.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "jointtuner/config/options.h"

namespace CLI {

class App;

}

namespace jointtuner::cli {

struct Machine {
  std::string device;   ///< "" = the config's, or auto
  int64_t threads = 0;  ///< 0 = the config's, or all cores
  std::string log_level = "info";
};

/// --device, --threads, --log-level.
void add_machine_options(CLI::App& command, Machine& machine);

/// The same options as texts for config's --set, so that they win over the file's.
std::vector<std::string> overrides(const Machine& machine);

/// Sets log level and threads.
void prepare(const Machine& machine, const config::RunOptions& run = {});

/// Sets log level and threads, returns the device; throws UsageError when it does not exist.
c10::Device prepared_device(const Machine& machine, const config::RunOptions& run = {});

}  // namespace jointtuner::cli
