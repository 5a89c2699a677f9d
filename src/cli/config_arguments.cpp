#include "config_arguments.h"

#include <CLI/App.hpp>

namespace jointtuner::cli {

void add_config_options(CLI::App& command, ConfigArguments& a) {
  command.add_option("--config", a.file, "run config, JSON; see configs/ and configs/schema.json")
      ->required()
      ->option_text("FILE");
  command.add_option("--set", a.changes, "change of the config, before it is checked: a.b=value (repeatable)")
      ->option_text("PATH=VALUE")
      ->take_all();
}

config::RunConfig loaded_config(const ConfigArguments& a, const Machine& machine) {
  std::vector<std::string> texts = a.changes;
  for (const std::string& text : overrides(machine)) texts.push_back(text);
  return config::load_run_config(a.file, texts);
}

}  // namespace jointtuner::cli
