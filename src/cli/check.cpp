#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "commands.h"
#include "config_arguments.h"
#include "run_check.h"

namespace jointtuner::cli {
namespace {

struct Arguments {
  Machine machine;
  ConfigArguments config;
};

void check(const Arguments& a) {
  const config::RunConfig config = loaded_config(a.config, a.machine);
  prepare(a.machine, config.run);
  Problems problems;
  fmt::print("{}", run_check(config, a.config.file, problems));
  if (problems.found().empty()) {
    fmt::print("no problems found\n");
    return;
  }
  fmt::print("problems:\n");
  for (const std::string& problem : problems.found()) fmt::print("  - {}\n", problem);
  std::fflush(stdout);
  throw Error(fmt::format("{} problem{} in {}: {}", problems.found().size(), problems.found().size() == 1 ? "" : "s",
                          a.config.file, problems.found().front()));
}

}  // namespace

void add_check(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "check", "List every picture, clip and caption as it will be used, sites, parameters and all problems");
  add_config_options(*command, a->config);
  add_machine_options(*command, a->machine);
  command->footer(
      "Nothing is trained, encoded or written, and no GPU memory is used. All problems are listed; with any, the exit\n"
      "code is 1.\n"
      "\nExamples:\n"
      "  jointtuner check --config configs/zeroscope_joint.json\n"
      "  jointtuner check --config run.json --set data.fps=12 --set adapter.rank=64");
  command->callback([a] { check(*a); });
}

}  // namespace jointtuner::cli
