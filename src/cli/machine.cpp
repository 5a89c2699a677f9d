#include "machine.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <map>
#include <thread>

#include "jointtuner/base/device.h"
#include "jointtuner/base/log.h"
#include "json_text.h"

namespace jointtuner::cli {
namespace {

const std::map<std::string, LogLevel> kLevels{
    {"debug", LogLevel::debug}, {"info", LogLevel::info}, {"warning", LogLevel::warning}, {"error", LogLevel::error}};

}  // namespace

void add_machine_options(CLI::App& command, Machine& machine) {
  command.add_option("--device", machine.device, "auto (a GPU if there is one), cpu, cuda or cuda:N")
      ->option_text("NAME")
      ->group("Machine");
  command
      .add_option("--threads", machine.threads,
                  "CPU threads; by default the run's, else all cores. On a machine that others use as well, also set "
                  "OMP_WAIT_POLICY=passive in the environment")
      ->check(CLI::Range(1, 1024))
      ->option_text("N")
      ->group("Machine");
  command.add_option("--log-level", machine.log_level, "debug, info, warning or error: what is told on stderr")
      ->check(CLI::IsMember(kLevels))
      ->option_text("LEVEL")
      ->group("Machine");
}

std::vector<std::string> overrides(const Machine& machine) {
  std::vector<std::string> texts;
  if (!machine.device.empty()) texts.push_back("run.device=" + json_text("--device", machine.device));
  if (machine.threads > 0) texts.push_back(fmt::format("run.threads={}", machine.threads));
  return texts;
}

void prepare(const Machine& machine, const config::RunOptions& run) {
  set_log_level(kLevels.at(machine.log_level));
  int64_t threads = machine.threads > 0 ? machine.threads : run.threads;
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  at::set_num_threads(static_cast<int>(threads));
}

c10::Device prepared_device(const Machine& machine, const config::RunOptions& run) {
  prepare(machine, run);
  return parse_device(machine.device.empty() ? run.device : machine.device);
}

}  // namespace jointtuner::cli
