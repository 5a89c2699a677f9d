#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "adapter_choice.h"
#include "commands.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/interrupt.h"
#include "jointtuner/config/run_config.h"
#include "jointtuner/run/adapter_sampling.h"
#include "jointtuner/run/sizes.h"
#include "jointtuner/sample/latents_file.h"
#include "jointtuner/sample/sampling.h"
#include "json_text.h"
#include "machine.h"
#include "prompts.h"
#include "sample_flags.h"

namespace jointtuner::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  Machine machine;
  AdapterChoice adapters;
  std::string backbone, initial_latents, output;
  PromptArguments prompts;
  std::vector<std::string> overrides;  ///< of the sample section
  bool latents_only = false;
};

config::RunConfig resolved_config(const Arguments& a) {
  if (a.adapters.run.empty() && a.backbone.empty())
    throw UsageError("name what to sample from: --run runs/NAME, or --backbone BUNDLE with --adapter FILE");
  std::vector<std::string> texts = overrides(a.machine);
  texts.insert(texts.end(), a.overrides.begin(), a.overrides.end());
  if (!a.backbone.empty()) texts.push_back("backbone.bundle=" + json_text("--backbone", a.backbone));
  config::RunConfig config = a.adapters.run.empty()
                                 ? config::parse_run_config("{}", "command line", texts)
                                 : config::load_past_run_config(fs::path(a.adapters.run) / "config.json", texts);
  if (!a.adapters.run.empty()) config.sample = run::with_sizes(config.sample, config.data);
  apply(a.prompts, config.sample);
  return config;
}

/// The folder given, or the first free one of RUN/samples/001, 002, ...
fs::path output_folder(const Arguments& a) {
  if (!a.output.empty()) return a.output;
  const fs::path parent = a.adapters.run.empty() ? fs::path("samples") : fs::path(a.adapters.run) / "samples";
  int number = 1;
  while (fs::exists(parent / fmt::format("{:03}", number))) ++number;
  return parent / fmt::format("{:03}", number);
}

void run_sample(const Arguments& a) {
  const config::RunConfig config = resolved_config(a);
  const c10::Device device = prepared_device(a.machine, config.run);
  const std::vector<adapter::AdapterFile> headers = chosen_adapters(a.adapters);
  const auto bundle = backbone::Bundle::open(config.backbone.bundle);
  const fs::path folder = output_folder(a);
  install_interrupt_handler();
  sample::Sampling sampling(bundle, device, config.sample, a.initial_latents);
  sampling.check_folder(folder, std::max<int64_t>(1, static_cast<int64_t>(headers.size())));
  const std::vector<sample::Video> videos = run::denoise_with(headers, sampling, bundle, device, folder);
  if (a.latents_only)
    sample::write_sample_list(folder, videos);
  else
    sampling.decode(folder, videos);
  const std::string ending(a.latents_only ? sample::kLatentsEnding : ".mp4");
  for (const sample::Video& video : videos) fmt::print("{}\n", (folder / (video.name + ending)).string());
  if (!a.latents_only) fmt::print("{}\n", (folder / "sheet.png").string());
}

}  // namespace

void add_sample(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("sample", "Sample videos: every prompt with every seed and every adapter, in one load");
  add_adapter_options(*command, a->adapters);
  command->add_option("--backbone", a->backbone, "bundle folder, instead of the run's")->option_text("BUNDLE");
  add_prompt_options(*command, a->prompts);
  add_sample_flags(*command, a->overrides);
  command
      ->add_option("--initial-latents", a->initial_latents,
                   "safetensors file whose tensor `latents` [1,C,F,h,w] replaces the drawn noise")
      ->option_text("FILE");
  command->add_flag("--latents-only", a->latents_only, "stop before the decode; see jointtuner decode");
  command->add_option("--output", a->output, "folder for the videos; by default a new one, RUN/samples/001, 002, ...")
      ->option_text("DIR");
  add_machine_options(*command, a->machine);
  command->footer(
      "Values that are not given are the run's (sample and data in its config.json), else the bundle's.\n"
      "The latents of a video are saved before anything is decoded. The same command with the same --output goes on\n"
      "after an interruption: latents with equal settings are kept, others are never overwritten.\n"
      "\nExamples:\n"
      "  jointtuner sample --run runs/corgi --prompt \"a corgi is skateboarding\" --seed 1 --seed 2\n"
      "  jointtuner sample --run runs/corgi --prompts prompts.txt --count 4 --checkpoint all\n"
      "  jointtuner sample --backbone bundles/zeroscope --adapter corgi.safetensors --prompt \"a corgi\" "
      "--temporal-scale 0.5");
  command->callback([a] { run_sample(*a); });
}

}  // namespace jointtuner::cli
