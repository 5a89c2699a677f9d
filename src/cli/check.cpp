#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "commands.h"
#include "config_arguments.h"
#include "jointtuner/base/bytes.h"
#include "jointtuner/base/error.h"
#include "jointtuner/run/check.h"
#include "json_text.h"

namespace jointtuner::cli {
namespace {

struct Arguments {
  Machine machine;
  ConfigArguments config;
  std::string memory;
  bool json = false;
};

void run_check(const Arguments& a) {
  ConfigArguments arguments = a.config;
  if (!a.memory.empty()) {
    parse_bytes(a.memory, "--memory");
    arguments.changes.push_back("run.memory=" + json_text("--memory", a.memory));
  }
  const config::RunConfig config = loaded_config(arguments, a.machine);
  prepare(a.machine, config.run);
  const run::Json report = run::check_report(config, a.config.file);
  // Names of files may be in another encoding; JSON is UTF-8.
  fmt::print("{}",
             a.json ? report.dump(1, ' ', false, run::Json::error_handler_t::replace) + "\n" : run::check_text(report));
  std::fflush(stdout);
  const run::Json& problems = report.at("problems");
  if (problems.empty()) return;
  throw Error(fmt::format("{} problem{} in {}: {}", problems.size(), problems.size() == 1 ? "" : "s", a.config.file,
                          problems.front().get<std::string>()));
}

}  // namespace

void add_check(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "check", "List every picture, clip and caption as it will be used, sites, parameters, memory and all problems");
  add_config_options(*command, a->config);
  command
      ->add_option("--memory", a->memory,
                   "memory of the GPU to plan for, as in 24GiB: says what does not fit, and what to change so that it "
                   "does; instead of the config's run.memory")
      ->option_text("SIZE");
  command->add_flag("--json", a->json, "one JSON object in place of the lines; amounts of memory in bytes");
  add_machine_options(*command, a->machine);
  command->footer(
      "Nothing is trained, encoded or written, and no GPU memory is used. All problems are listed; with any, the exit\n"
      "code is 1. The forecast of memory is a dry run of the real work; it describes a GPU unless --device is cpu.\n"
      "\nExamples:\n"
      "  jointtuner check --config configs/zeroscope_joint.json\n"
      "  jointtuner check --config run.json --set data.fps=12 --set adapter.rank=64\n"
      "  jointtuner check --config configs/cogvideox_5b_joint.json --memory 24GiB\n"
      "  jointtuner check --config run.json --json");
  command->callback([a] { run_check(*a); });
}

}  // namespace jointtuner::cli
