#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "commands.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/evaluate/world_table.h"

namespace jointtuner::cli {
namespace {

struct Arguments {
  std::vector<std::string> samples;
  std::string truth, csv;
};

void evaluate_world(const Arguments& a) {
  const auto rows = evaluate::world::world_rows({a.samples.begin(), a.samples.end()}, a.truth);
  if (rows.empty()) throw Error("no videos: samples.jsonl of every folder is empty");
  if (!a.csv.empty()) write_atomically(a.csv, evaluate::world::world_csv(rows));
  fmt::print("{}", evaluate::world::world_summary(rows));
}

}  // namespace

void add_evaluate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("evaluate", "Measure sampled videos");
  command->require_subcommand(1);
  auto a = std::make_shared<Arguments>();
  CLI::App* world = command->add_subcommand(
      "world", "Exact metrics in the sprite world: appearance, motion, contamination, text, validity");
  world->add_option("--samples", a->samples, "folder that sample wrote (repeatable)")->required()->option_text("DIR");
  world->add_option("--truth", a->truth, "world.json: what each prompt asks for, and what the references show")
      ->required()
      ->option_text("FILE");
  world->add_option("--csv", a->csv, "write a line for each video")->option_text("FILE");
  world->footer(
      "Prints a line for each adapter: mean scores in 0..1 (joint is the harmonic mean of appearance, motion and 1 -\n"
      "contamination), then the share of videos whose shape, colours, background and motion are the asked ones.\n"
      "\nExamples:\n"
      "  jointtuner evaluate world --samples demo/samples --truth demo/world.json\n"
      "  jointtuner evaluate world --samples a --samples b --truth world.json --csv scores.csv");
  world->callback([a] { evaluate_world(*a); });
}

}  // namespace jointtuner::cli
