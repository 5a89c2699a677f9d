// A run's whole configuration: the options of all modules as one strict JSON file.
//
//   {"about": "free text", "run": {...}, "backbone": {...}, "data": {...}, "adapter": {...}, "loss": {...},
//    "train": {...}, "sample": {...}, "preview": {...}}
//
// Every key is optional and has the default of its options struct; configs/schema.json describes them all. An unknown
// key, a wrong type and a value out of range are errors that name the file, the JSON path, what was found, what is
// allowed and the nearest key. Relative paths in a config are relative to the current directory, not to the file.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "jointtuner/adapter/options.h"
#include "jointtuner/backbone/options.h"
#include "jointtuner/base/field.h"
#include "jointtuner/config/options.h"
#include "jointtuner/data/options.h"
#include "jointtuner/diffusion/options.h"
#include "jointtuner/sample/options.h"
#include "jointtuner/train/options.h"

namespace jointtuner::config {

struct RunConfig {
  std::string about;
  std::string program;
  RunOptions run;
  backbone::BackboneOptions backbone;
  data::DataOptions data;
  adapter::AdapterOptions adapter;
  diffusion::LossOptions loss;
  train::TrainOptions train;
  sample::SampleOptions sample;
  train::PreviewOptions preview;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("about", o.about, "free text: what this config is for and the command that uses it");
    field("program", o.program, "program and version that wrote this file; not used when read");
    field("run", o.run, "what the run is called and where it runs");
    field("backbone", o.backbone, "the frozen model");
    field("data", o.data, "pictures, clips and their captions");
    field("adapter", o.adapter, "the trained adapters");
    field("loss", o.loss, "what is minimised");
    field("train", o.train, "steps, optimiser, checkpoints");
    field("sample", o.sample, "prompts and settings of sampled videos");
    field("preview", o.preview, "videos sampled during training");
  }
};

/// Reads the file, applies the `--set` texts in order (src/config/overrides.h), checks everything (validate.h). An
/// empty run.name becomes the file's name without its ending; an option that is gone (base/retired_options.h) is an
/// error unless it changed nothing. Throws UsageError, also when the file cannot be read.
RunConfig load_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides = {});

/// Reads the config.json of a run that was made, for what comes after training: options that are gone are passed over
/// whatever they say.
RunConfig load_past_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides = {});

/// The config from text; `origin` stands for the file in messages, and an empty run.name stays empty.
RunConfig parse_run_config(std::string_view text, std::string_view origin,
                           const std::vector<std::string>& overrides = {});

/// The complete config as JSON, every option spelled out in a fixed order, ending with a newline; reading it gives an
/// equal config. Set `config.program` first. Throws Error for a number that JSON cannot hold (NaN, infinity).
std::string run_config_text(const RunConfig& config);

/// JSON schema (draft 2020-12) of the file, the contents of configs/schema.json.
std::string run_config_schema();

}  // namespace jointtuner::config
