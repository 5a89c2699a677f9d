// Which prompts and seeds: --prompt, --prompts FILE, --seed, --count.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "jointtuner/sample/options.h"

namespace CLI {

class App;

}

namespace jointtuner::cli {

struct PromptArguments {
  std::vector<std::string> prompts;
  std::string file;  ///< a prompt a line; empty lines and lines that begin with # are skipped
  std::vector<int64_t> seeds;
  int64_t count = 0;
};

void add_prompt_options(CLI::App& command, PromptArguments& arguments);

/// Replaces prompts and seeds of `options` by those given. --count n: the seeds s, s + 1, ... s + n - 1, s being the
/// given seed or the first of `options`. Throws UsageError: a seed twice, --count with several seeds, a file without
/// prompts.
void apply(const PromptArguments& arguments, sample::SampleOptions& options);

}  // namespace jointtuner::cli
