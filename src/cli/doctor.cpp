#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>

#include "commands.h"
#include "jointtuner/base/error.h"
#include "jointtuner/doctor/checks.h"
#include "jointtuner/doctor/table.h"
#include "machine.h"

namespace jointtuner::cli {
namespace {

struct Arguments {
  Machine machine;
  doctor::Options options;
  bool json = false;
};

void run_doctor(Arguments& a) {
  a.options.device = prepared_device(a.machine);
  const std::vector<doctor::Row> rows = doctor::findings(a.options);
  fmt::print("{}", a.json ? doctor::table_json(rows).dump(1) + "\n" : doctor::table_text(rows));
  std::fflush(stdout);
  const auto first = std::find_if(rows.begin(), rows.end(),
                                  [](const doctor::Row& row) { return row.verdict == doctor::Verdict::wrong; });
  if (first == rows.end()) return;
  const size_t wrong = doctor::count(rows, doctor::Verdict::wrong);
  throw Error(fmt::format("{} check{} of {} found something wrong, the first: {}{}{}", wrong, wrong == 1 ? "" : "s",
                          rows.size(), first->check, first->on.empty() ? "" : " on ", first->on));
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "doctor", "Check this machine: versions, devices, every kernel against its reference, a small training run");
  command->add_flag("--quick", a->options.quick, "fewer steps, and no large inputs: GB/s then say little");
  command
      ->add_option("--bundle", a->options.bundle, "also train three steps of this bundle's denoiser, at a small size")
      ->option_text("BUNDLE");
  command->add_flag("--json", a->json, "one JSON object in place of the table");
  add_machine_options(*command, a->machine);
  command->footer(
      "The table's errors are the largest difference from the reference (float64, on the CPU) relative to the largest\n"
      "value; GB/s are the bytes of inputs and results, each moved once, by the median time. Without a GPU the CPU's\n"
      "part is done and the table says what was left out. Exit code 1: something is WRONG.\n"
      "\nExamples:\n"
      "  jointtuner doctor --quick\n"
      "  jointtuner doctor --device cuda:1 --bundle bundles/zeroscope\n"
      "  jointtuner doctor --device cpu --quick --json");
  command->callback([a] { run_doctor(*a); });
}

}  // namespace jointtuner::cli
