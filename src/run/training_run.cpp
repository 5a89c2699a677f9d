#include "jointtuner/run/training_run.h"

#include <fmt/format.h>

#include <optional>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/log.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/report/run_report.h"
#include "jointtuner/run/adapter_metadata.h"
#include "jointtuner/run/facts.h"
#include "jointtuner/run/memory_report.h"
#include "jointtuner/run/sizes.h"
#include "jointtuner/sample/sampling.h"
#include "jointtuner/train/prepare.h"
#include "jointtuner/train/trainer.h"

namespace jointtuner::run {
namespace {

namespace fs = std::filesystem;

void write_facts(const fs::path& folder, const config::RunConfig& config, const backbone::Bundle& bundle,
                 const data::Listing& listing, const adapter::AdapterSet& adapters) {
  const Json facts{{"backbone", backbone_facts(bundle)},
                   {"sites", site_facts(adapters.sites(), adapters.rank(), adapters.gated())},
                   {"parameters", adapters.parameters()},
                   {"items", item_facts(listing.items, config.data)},
                   {"skipped", skipped_facts(listing.skipped)}};
  write_atomically(folder / "facts.json", facts.dump(2) + "\n");
}

/// Samples with the adapters as they are: into RUN/previews/step_N, which gets its name when it is complete.
class PreviewMaker {
 public:
  PreviewMaker(const backbone::Bundle& bundle, c10::Device device, const config::RunConfig& config,
               const train::RunFolder& folder)
      : folder_(folder), sampling_(bundle, device, with_sizes(config.sample, config.data)) {
    sampling_.say_when_stopped("Give the same command with --resume to go on");
  }

  std::vector<fs::path> make(const inject::GraphProgram& program, const adapter::AdapterSet& adapters,
                             adapter::AdapterMetadata metadata, int64_t step) {
    metadata.step = step;
    const fs::path target = folder_.preview(step);
    make_folder(target.parent_path());
    remove_leftovers(target.parent_path());
    fs::remove_all(target);  // of a run that was killed after it and resumed before it
    write_folder_atomically(target, [&](const fs::path& temporary) {
      const auto videos = sampling_.denoise(program, {fmt::format("step {}", step), &adapters, metadata}, temporary);
      sampling_.decode(temporary, videos);
    });
    report::write_run_report(folder_.path());
    return {target / "sheet.png"};
  }

 private:
  const train::RunFolder& folder_;
  sample::Sampling sampling_;
};

}  // namespace

fs::path train_run(const config::RunConfig& config, c10::Device device, bool resume) {
  const auto seed = static_cast<uint64_t>(config.run.seed);
  const auto bundle = backbone::Bundle::open(config.backbone.bundle);
  const backbone::Manifest& manifest = bundle.manifest();
  train::check_sizes(config.data, manifest);
  const std::vector<inject::SegmentMemory> segment_memory = segments_that_fit(config, bundle, device);
  const data::Listing listing = data::list_items(config.data);
  const train::RunIdentity identity{config::run_config_text(config), data::data_hash(listing.items),
                                    bundle.sha256(manifest.denoiser.file)};
  const train::RunFolder folder(fs::path(config.run.output) / config.run.name, identity, resume);
  add_log_file(folder.log());

  const train::PreparedData data = train::prepare(listing.items, config.data, bundle, device);
  std::optional<PreviewMaker> previews;
  if (config.preview.every > 0) previews.emplace(bundle, device, config, folder);

  const inject::GraphProgram program(bundle, device, {.segment_memory = segment_memory, .gated = config.adapter.gate});
  adapter::AdapterSet adapters(program.sites(), config.adapter.rank, config.adapter.gate, device);
  adapters.initialize(seed, manifest.denoiser.gate_init);
  write_facts(folder.path(), config, bundle, listing, adapters);

  const diffusion::NoiseSchedule schedule(manifest.schedule);
  const data::JointBatches batches(data.items(), seed, config.train.batch, config.data.image_flip);
  const train::TrainingStep step(data, schedule, train::adapted_denoiser(program, adapters, config.adapter),
                                 {.seed = seed,
                                  .scaling_factor = manifest.latents.scaling_factor,
                                  .frames_multiple = manifest.denoiser.frames_multiple,
                                  .device = device,
                                  .loss = config.loss});
  adapter::AdapterMetadata metadata = adapter_metadata(config.adapter, config.loss, bundle);
  metadata.data_hash = identity.data_hash;
  train::Preview preview;
  if (previews)
    preview = [&](int64_t at, const adapter::AdapterSet& now) { return previews->make(program, now, metadata, at); };
  train::Trainer trainer({data, batches, step, adapters, folder},
                         {.train = config.train,
                          .preview = config.preview,
                          .metadata = metadata,
                          .loss_scaling = manifest.denoiser.dtype == at::kHalf,
                          .after_checkpoint = [&](int64_t) { report::write_run_report(folder.path()); }},
                         preview);
  trainer.run();
  return folder.path();
}

}  // namespace jointtuner::run
