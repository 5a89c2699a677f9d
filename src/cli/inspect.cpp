#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "commands.h"
#include "jointtuner/run/inspected.h"
#include "machine.h"

namespace jointtuner::cli {
namespace {

struct Arguments {
  Machine machine;
  std::vector<std::string> paths;
  bool json = false;
};

/// "key  value" lines; what is nested is indented.
std::string lines_of(const run::Json& object, size_t indent = 0) {
  size_t width = 0;
  for (const auto& [key, value] : object.items()) width = std::max(width, key.size());
  std::string out;
  for (const auto& [key, value] : object.items()) {
    const std::string margin(indent, ' ');
    if (value.is_object())
      out += fmt::format("{}{}\n{}", margin, key, lines_of(value, indent + 2));
    else
      out += fmt::format("{}{:<{}}  {}\n", margin, key, width,
                         value.is_string() ? value.get<std::string>() : value.dump());
  }
  return out;
}

void run_inspect(const Arguments& a) {
  prepare(a.machine);
  for (const std::string& path : a.paths) {
    const run::Json found = run::inspected(path);
    fmt::print("{}{}", &path == &a.paths.front() || a.json ? "" : "\n", a.json ? found.dump() + "\n" : lines_of(found));
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("inspect", "Say what a file, bundle or run is: sites, rank, backbone, steps, hashes");
  command
      ->add_option("PATH", a->paths,
                   "adapter, published .pt list, latents, cache entry, optimizer state, checkpoint, run or bundle")
      ->required();
  command->add_flag("--json", a->json, "one JSON object a line");
  add_machine_options(*command, a->machine);
  command->footer(
      "Examples:\n"
      "  jointtuner inspect runs/corgi\n"
      "  jointtuner inspect runs/corgi/checkpoints/step_00000500/adapter.safetensors\n"
      "  jointtuner inspect bundles/zeroscope --json");
  command->callback([a] { run_inspect(*a); });
}

}  // namespace jointtuner::cli
