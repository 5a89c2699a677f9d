// train on the stand-in: the CPU's files, resumed or not, and one wait for the device in a step.
#include <ATen/Functions.h>

#include <nlohmann/json.hpp>

#include "cli/training_run.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_writer.h"
#include "jointtuner/train/denoise.h"
#include "jointtuner/train/trainer.h"
#include "on_both.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/fake_run.h"

namespace jointtuner::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Backbone;
using testing::stand_in;
using testing::taken_traffic;
using testing::Traffic;

class TrainingOnBoth : public testing::OnBoth {
 protected:
  /// A small run on a picture and a clip: two steps of two micro-batches, a preview at the end.
  config::RunConfig small_run(const fs::path& folder, const std::string& name) const {
    const testing::Family& family = GetParam();
    config::RunConfig c;
    c.run.name = name;
    c.run.output = folder / "runs";
    c.run.seed = 3;
    c.backbone.bundle = family.bundle;
    c.data.images = {{.path = folder / "dog.png", .caption = "a dog"}};
    c.data.videos = {{.path = folder / "walk.mp4", .caption = "a cat"}};
    c.data.height = family.height;
    c.data.width = family.width;
    c.data.frames = family.frames;
    c.data.cache = folder / "cache";
    c.adapter.rank = 2;
    c.train.steps = 2;
    c.train.batch = 2;
    c.train.accumulation = 2;
    c.train.learning_rate = 0.01;
    c.train.gradient_clip = 0.5;
    c.train.checkpoint_every = 1;
    c.preview.every = 2;
    c.sample.prompts = {"a dog"};
    c.sample.steps = 2;
    return c;
  }

  void write_media(const fs::path& folder) const {
    const testing::Family& f = GetParam();
    const auto pixels = [](at::IntArrayRef shape, const char* name) {
      return uniform_draw(shape, generator(1, 0, name)).mul(255).to(at::kByte);
    };
    media::write_png(folder / "dog.png", pixels({f.height, f.width, 3}, "dog"));
    media::write_mp4(folder / "walk.mp4", pixels({f.frames, f.height, f.width, 3}, "walk"), 8);
  }

  static std::vector<json> metrics(const fs::path& run) {
    std::vector<json> lines;
    std::ifstream file(run / "metrics.jsonl");
    for (std::string line; std::getline(file, line);) {
      json object = json::parse(line);
      EXPECT_GT(object.at("peak_memory_bytes").get<int64_t>(), 0);
      for (const char* key : {"seconds", "samples_per_second", "peak_memory_bytes"}) object.erase(key);
      lines.push_back(object);
    }
    return lines;
  }

  static void expect_same(const fs::path& run, const fs::path& expected) {
    EXPECT_EQ(metrics(expected).size(), 2U);
    EXPECT_EQ(metrics(run), metrics(expected));
    for (const int64_t step : {1, 2})
      for (const char* name : {"adapter.safetensors", "optimizer.safetensors"}) {
        const fs::path file = fs::path("checkpoints") / checkpoint_name(step) / name;
        EXPECT_EQ(bytes_of(run / file), bytes_of(expected / file)) << file;
      }
    size_t previews = 0;
    for (const auto& entry : fs::directory_iterator(expected / "previews" / checkpoint_name(2))) {
      const std::string extension = entry.path().extension().string();
      const fs::path same = run / "previews" / checkpoint_name(2) / entry.path().filename();
      if (extension == ".mp4" || extension == ".png") {
        EXPECT_EQ(bytes_of(same), bytes_of(entry.path())) << same;
        ++previews;
      }
    }
    EXPECT_EQ(previews, 2U);
  }
};
FOR_ALL_FAMILIES(TrainingOnBoth);

TEST_P(TrainingOnBoth, a_run_and_a_resumed_run_write_the_cpus_files) {
  const testing::TemporaryFolder folder;
  write_media(folder.path());
  const fs::path expected = cli::train_run(small_run(folder.path(), "cpu"), at::kCPU, false);
  const fs::path run = cli::train_run(small_run(folder.path(), "stand_in"), stand_in(), false);
  expect_same(run, expected);
  // As if it had been killed after its first step.
  fs::remove_all(run / "previews");
  fs::remove_all(run / "checkpoints" / checkpoint_name(2));
  cli::train_run(small_run(folder.path(), "stand_in"), stand_in(), true);
  expect_same(run, expected);
}

/// The parts of a run on latents that follow from a formula.
struct NanoRun {
  NanoRun(Backbone& backbone, at::Device device)
      : adapters(backbone.adapters.clone(device)),
        batches(data.items(), kSeed, 4, 0.0),
        step(data, diffusion::NoiseSchedule(backbone.bundle.manifest().schedule),
             adapted_denoiser(backbone.program, adapters, {.rank = 2, .dropout = 0.1}),
             settings(backbone.bundle.manifest(), device)) {
    const backbone::Manifest& manifest = backbone.bundle.manifest();
    for (int64_t item = 0; item < 4; ++item) {
      const std::vector<int64_t> shape = {item < 2 ? 1 : 3, kChannels, 6, 6};
      data.set_posterior({.item = item}, {formula(shape, item), formula(shape, 10 + item) + 0.75});
      data.set_embedding("caption " + std::to_string(item),
                         formula({1, manifest.text.max_length, manifest.text.embedding_width}, 20 + item));
    }
  }

  static StepSettings settings(const backbone::Manifest& manifest, at::Device device) {
    StepSettings settings = fake_settings();
    settings.frames_multiple = manifest.denoiser.frames_multiple;
    settings.device = device;
    return settings;
  }

  /// What training so many steps makes go between host and device.
  Traffic traffic(int64_t steps, bool loss_scaling) {
    const testing::TemporaryFolder temporary;
    RunFolder folder(temporary / "run", fake_identity(), false);
    TrainerOptions options = fake_options(steps);
    options.train.checkpoint_every = 0;
    options.train.accumulation = 2;
    options.train.gradient_clip = 0.1;
    options.loss_scaling = loss_scaling;
    Trainer trainer({data, batches, step, adapters, folder}, options);
    taken_traffic();
    trainer.run();
    return taken_traffic();
  }

  PreparedData data{fake_items()};
  adapter::AdapterSet adapters;
  data::JointBatches batches;
  TrainingStep step;
};

TEST_P(TrainingOnBoth, a_micro_step_equals_the_cpus_and_waits_for_nothing) {
  NanoRun cpu(loaded(at::kCPU), at::kCPU), device(loaded(stand_in()), stand_in());
  cpu.adapters.set_requires_grad(true);
  device.adapters.set_requires_grad(true);
  const StepResult expected = cpu.step.run(cpu.batches.at(0));
  taken_traffic();
  const RunningStep running = device.step.start(device.batches.at(0));
  const Traffic first = taken_traffic();
  EXPECT_TRUE(first.waits.empty()) << testing::waits_text(first);
  EXPECT_EQ(first.copies_out, 0);
  const StepResult result = running.result(running.measured().cpu());
  EXPECT_EQ(result.loss, expected.loss);
  EXPECT_EQ(result.mean_gate, expected.mean_gate);
  EXPECT_TRUE(at::equal(device.adapters.flat_gradient().cpu(), cpu.adapters.flat_gradient()));
  EXPECT_GT(cpu.adapters.flat_gradient().abs().max().item().toDouble(), 0);
  taken_traffic();
  device.step.start(device.batches.at(0));
  const Traffic second = taken_traffic();
  EXPECT_TRUE(second.waits.empty()) << testing::waits_text(second);
  EXPECT_EQ(second.copies_in, 9);  // timesteps, latents, noise and embeddings of both kinds, the videos' shift
}

TEST_P(TrainingOnBoth, plain_lora_without_checkpoint_segments_equals_the_cpus) {
  std::vector<Tensor> gradients;
  for (const at::Device device : {at::Device(at::kCPU), stand_in()}) {
    Backbone& gated = loaded(device);
    const inject::GraphProgram program(gated.bundle, device, {.segment_memory = {inject::SegmentMemory::keep}, .gated = false});
    adapter::AdapterSet adapters(program.sites(), 2, false, device);
    adapters.initialize(kSeed, gated.bundle.manifest().denoiser.gate_init);
    adapters.set_requires_grad(true);
    NanoRun run(gated, device);
    const TrainingStep step(run.data, diffusion::NoiseSchedule(gated.bundle.manifest().schedule),
                            adapted_denoiser(program, adapters, {.rank = 2, .gate = false}),
                            NanoRun::settings(gated.bundle.manifest(), device));
    EXPECT_FALSE(step.run(run.batches.at(1)).mean_gate.has_value());
    gradients.push_back(adapters.flat_gradient().cpu());
  }
  EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
}

// Losses, gates and gradient norm of all micro-batches are read at once: clipping and the checks need them.
TEST_P(TrainingOnBoth, an_optimiser_step_waits_once) {
  for (const bool loss_scaling : {false, true}) {
    NanoRun run(loaded(stand_in()), stand_in());
    const Traffic one = run.traffic(1, loss_scaling), three = run.traffic(3, loss_scaling);
    EXPECT_EQ(three.waits.size() - one.waits.size(), 2U) << testing::waits_text(three);
    EXPECT_EQ(three.copies_out - one.copies_out, 2);
  }
}

TEST_P(TrainingOnBoth, a_tensor_left_on_the_host_is_refused) {
  Backbone& backbone = loaded(stand_in());
  NanoRun run(backbone, stand_in());
  run.adapters.set_requires_grad(true);
  const TrainingStep on_host(run.data, diffusion::NoiseSchedule(backbone.bundle.manifest().schedule),
                             adapted_denoiser(backbone.program, run.adapters, {.rank = 2}),
                             NanoRun::settings(backbone.bundle.manifest(), at::kCPU));
  EXPECT_ERROR(on_host.run(run.batches.at(0)), c10::Error, "same device", "jointtuner::shifted_mse");
}

}  // namespace
}  // namespace jointtuner::train
