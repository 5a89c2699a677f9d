#include "prompts.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <sstream>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"

namespace jointtuner::cli {
namespace {

constexpr int64_t kLargestSeed = 9007199254740992;  // 2^53, as in a config: JSON keeps no larger one exactly

std::vector<std::string> prompts_of(const std::string& path) {
  std::istringstream lines(read_file(path));
  std::vector<std::string> prompts;
  for (std::string line; std::getline(lines, line);)
    if (const size_t first = line.find_first_not_of(" \t\r"); first != std::string::npos && line[first] != '#')
      prompts.push_back(line);
  if (prompts.empty()) throw UsageError(fmt::format("{}: expected a prompt a line, found none", path));
  return prompts;
}

}  // namespace

void add_prompt_options(CLI::App& command, PromptArguments& a) {
  command.add_option("--prompt", a.prompts, "text to sample (repeatable); by default the run's sample.prompts")
      ->option_text("TEXT")
      ->take_all();
  command.add_option("--prompts", a.file, "file with a prompt a line; lines that begin with # are skipped")
      ->option_text("FILE");
  command
      .add_option("--seed", a.seeds,
                  "seed of the initial noise (repeatable); by default the run's sample.seeds, else 0")
      ->check(CLI::Range(int64_t{0}, kLargestSeed))
      ->option_text("N");
  command.add_option("--count", a.count, "this many videos a prompt, with the seeds that follow on the first one")
      ->check(CLI::Range(1, 100000))
      ->option_text("N");
}

void apply(const PromptArguments& a, sample::SampleOptions& options) {
  if (!a.prompts.empty() || !a.file.empty()) {
    options.prompts = a.prompts;
    if (!a.file.empty())
      for (const std::string& prompt : prompts_of(a.file)) options.prompts.push_back(prompt);
  }
  if (!a.seeds.empty()) options.seeds = a.seeds;
  if (a.count == 0) return;
  if (a.seeds.size() > 1)
    throw UsageError(fmt::format("--count {}: counts up from one seed, but {} are given", a.count, a.seeds.size()));
  const int64_t first = options.seeds.empty() ? 0 : options.seeds.front();
  options.seeds.clear();
  for (int64_t i = 0; i < a.count; ++i) options.seeds.push_back(first + i);
}

}  // namespace jointtuner::cli
