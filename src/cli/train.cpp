#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "commands.h"
#include "config_arguments.h"
#include "jointtuner/base/interrupt.h"
#include "jointtuner/config/validate.h"
#include "jointtuner/report/run_report.h"
#include "jointtuner/run/training_run.h"

namespace jointtuner::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  Machine machine;
  ConfigArguments config;
  bool resume = false;
};

void run_train(const Arguments& a) {
  config::RunConfig config = loaded_config(a.config, a.machine);
  config::validate_for_training(config, a.config.file);
  config.program = program_version();
  const c10::Device device = prepared_device(a.machine, config.run);
  install_interrupt_handler();
  const fs::path folder = run::train_run(config, device, a.resume);
  report::write_run_report(folder);
  fmt::print("{}\n{}\n", (folder / "adapter.safetensors").string(), (folder / "report.html").string());
}

}  // namespace

void add_train(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("train", "Train the adapters of one run");
  add_config_options(*command, a->config);
  command->add_flag("--resume", a->resume, "go on from the run's last checkpoint; without one, begin");
  add_machine_options(*command, a->machine);
  command->footer(
      "Ctrl-C finishes the step, saves a checkpoint and ends with exit code 130; --resume then goes on to exactly the\n"
      "result of an uninterrupted run.\n"
      "\nExamples:\n"
      "  jointtuner train --config configs/zeroscope_joint.json --set run.name=corgi\n"
      "  jointtuner train --config configs/zeroscope_joint.json --set run.name=corgi --resume\n"
      "  jointtuner train --config run.json --set train.steps=500 --set 'sample.prompts=[\"a corgi\"]' --device "
      "cuda:1");
  command->callback([a] { run_train(*a); });
}

}  // namespace jointtuner::cli
