#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "jointtuner/backbone/bundle.h"
#include "jointtuner/base/error.h"
#include "jointtuner/config/run_config.h"
#include "jointtuner/sample/decode.h"
#include "jointtuner/sample/latents_file.h"
#include "machine.h"
#include "sample_flags.h"

namespace jointtuner::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  Machine machine;
  std::vector<std::string> latents;
  std::string backbone, output;
  std::vector<std::string> overrides;  ///< of the sample section
};

/// FOLDER/x.mp4 for FOLDER/x.latents.safetensors.
fs::path video_beside(const fs::path& latents) {
  std::string name = latents.filename().string();
  if (const size_t at = name.find('.'); at != std::string::npos) name.resize(at);
  return latents.parent_path() / (name + ".mp4");
}

/// The bundle that the latents were sampled with.
fs::path stated_bundle(const fs::path& latents) {
  const std::string settings = sample::load_latents_header(latents).settings;
  if (settings.empty())
    throw UsageError(
        fmt::format("{}: does not say which backbone it is for; name it with --backbone", latents.string()));
  return nlohmann::json::parse(settings).at("backbone").at("path").get<std::string>();
}

void run_decode(const Arguments& a) {
  const c10::Device device = prepared_device(a.machine);
  const sample::SampleOptions options = config::parse_run_config("{}", "command line", a.overrides).sample;
  if (!a.output.empty() && a.latents.size() > 1)
    throw UsageError("--output names one video; give one --latents with it");
  if (!a.output.empty()) sample::video_format(a.output);
  for (const fs::path latents : a.latents) {
    const auto bundle = backbone::Bundle::open(a.backbone.empty() ? stated_bundle(latents) : fs::path(a.backbone));
    const fs::path output = a.output.empty() ? video_beside(latents) : fs::path(a.output);
    sample::decode_latents_file(bundle, device, latents, output, options);
    fmt::print("{}\n", output.string());
  }
}

}  // namespace

void add_decode(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("decode", "Repeat only the last stage of sampling: latents to a video or pictures");
  command->add_option("--latents", a->latents, "*.latents.safetensors that sample wrote (repeatable)")
      ->required()
      ->option_text("FILE");
  command->add_option("--backbone", a->backbone, "bundle folder; by default the one the latents were sampled with")
      ->option_text("BUNDLE");
  command
      ->add_option("--output", a->output,
                   "what to write, by its name: x.mp4, x.gif, or a new folder (a name without extension) that gets "
                   "lossless frames 0000.png, 0001.png, ...; by default an mp4 beside the latents")
      ->option_text("PATH");
  add_sample_flags(*command, a->overrides, {"fps", "decode_slice", "decode_tile"});
  add_machine_options(*command, a->machine);
  command->footer(
      "Without --fps the video keeps the rate that it was sampled with.\n"
      "\nExamples:\n"
      "  jointtuner decode --latents x.latents.safetensors --output x.gif\n"
      "  jointtuner decode --latents x.latents.safetensors --output x_frames\n"
      "  jointtuner decode --latents samples/001/000_a_corgi_s0.latents.safetensors\n"
      "  jointtuner decode --latents x.latents.safetensors --backbone bundles/zeroscope --decode-slice 1 --decode-tile "
      "256");
  command->callback([a] { run_decode(*a); });
}

}  // namespace jointtuner::cli
