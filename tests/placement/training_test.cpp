// train on the stand-in: the CPU's results, the same bytes when resumed, and one wait for the device in a step.
#include <ATen/Functions.h>

#include <nlohmann/json.hpp>

#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_writer.h"
#include "jointtuner/run/training_run.h"
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

  /// Numbers agree to rounding, everything else is equal.
  static void expect_near(const json& found, const json& expected, const std::string& where) {
    ASSERT_EQ(found.type(), expected.type()) << where;
    if (expected.is_number_float()) {
      const double value = expected.get<double>();
      EXPECT_NEAR(found.get<double>(), value, testing::kRounding * std::abs(value)) << where;
    } else if (expected.is_structured()) {
      ASSERT_EQ(found.size(), expected.size()) << where;
      for (const auto& item : expected.items())
        expect_near(expected.is_array() ? found.at(std::stoul(item.key())) : found.at(item.key()), item.value(),
                    where + "." + item.key());
    } else {
      EXPECT_EQ(found, expected) << where;
    }
  }

  static void expect_near_tensors(const fs::path& file, const fs::path& expected_file) {
    const Safetensors found = load_safetensors(file), expected = load_safetensors(expected_file);
    ASSERT_EQ(found.tensors.size(), expected.tensors.size()) << file;
    for (size_t i = 0; i < expected.tensors.size(); ++i) {
      const auto& [name, tensor] = expected.tensors[i];
      EXPECT_EQ(found.tensors[i].first, name);
      EXPECT_LT(testing::distance(found.tensors[i].second, tensor), kTrained) << file << ", " << name;
    }
  }

  static void expect_the_cpus_run(const fs::path& run, const fs::path& expected) {
    EXPECT_EQ(metrics(expected).size(), 2U);
    expect_near(metrics(run), metrics(expected), "metrics");
    for (const int64_t step : {1, 2}) {
      const fs::path file = fs::path("checkpoints") / checkpoint_name(step) / "adapter.safetensors";
      expect_near_tensors(run / file, expected / file);
    }
    size_t previews = 0;
    for (const auto& entry : fs::directory_iterator(expected / "previews" / checkpoint_name(2))) {
      const fs::path same = run / "previews" / checkpoint_name(2) / entry.path().filename();
      EXPECT_TRUE(fs::exists(same)) << same;
      if (entry.path().extension() != ".safetensors") continue;
      expect_near_tensors(same, entry.path());
      ++previews;
    }
    EXPECT_EQ(previews, 1U);
  }

  /// Bytes of all that a run's steps leave behind.
  static std::map<std::string, std::string> files(const fs::path& run) {
    std::map<std::string, std::string> result;
    for (const char* part : {"checkpoints", "previews"})
      for (const auto& entry : fs::recursive_directory_iterator(run / part))
        if (entry.is_regular_file() && entry.path().filename() != "samples.jsonl")
          result[fs::relative(entry.path(), run)] = bytes_of(entry.path());
    return result;
  }

  /// AdamW divides a gradient by its own size, so the rounding of small ones is seen in the step.
  static constexpr double kTrained = 1e-2;
};
FOR_ALL_FAMILIES(TrainingOnBoth);

TEST_P(TrainingOnBoth, ARunEqualsTheCpusAndAResumedOneTheUninterrupted) {
  const testing::TemporaryFolder folder;
  write_media(folder.path());
  const fs::path expected = run::train_run(small_run(folder.path(), "cpu"), at::kCPU, false);
  const fs::path run = run::train_run(small_run(folder.path(), "stand_in"), stand_in(), false);
  expect_the_cpus_run(run, expected);
  const auto uninterrupted = files(run);
  // As if it had been killed after its first step.
  fs::remove_all(run / "previews");
  fs::remove_all(run / "checkpoints" / checkpoint_name(2));
  run::train_run(small_run(folder.path(), "stand_in"), stand_in(), true);
  const auto resumed = files(run);
  ASSERT_EQ(resumed.size(), uninterrupted.size());
  for (const auto& [name, bytes] : uninterrupted) EXPECT_TRUE(resumed.at(name) == bytes) << name;
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

TEST_P(TrainingOnBoth, AMicroStepEqualsTheCpusAndWaitsForNothing) {
  NanoRun cpu(loaded(at::kCPU), at::kCPU), device(loaded(stand_in()), stand_in());
  cpu.adapters.set_requires_grad(true);
  device.adapters.set_requires_grad(true);
  const TrainingStepResult expected = cpu.step.run(cpu.batches.at(0));
  taken_traffic();
  const RunningStep running = device.step.start(device.batches.at(0));
  const Traffic first = taken_traffic();
  EXPECT_TRUE(first.waits.empty()) << testing::waits_text(first);
  EXPECT_EQ(first.copies_out, 0);
  const TrainingStepResult result = running.result(running.measured().cpu());
  EXPECT_NEAR(result.loss, expected.loss, testing::kRounding * expected.loss);
  EXPECT_NEAR(result.mean_gate.value(), expected.mean_gate.value(), testing::kRounding);
  EXPECT_LT(testing::distance(device.adapters.flat_gradient(), cpu.adapters.flat_gradient()), testing::kRounding);
  EXPECT_GT(cpu.adapters.flat_gradient().abs().max().item().toDouble(), 0);
  taken_traffic();
  device.step.start(device.batches.at(0));
  const Traffic second = taken_traffic();
  EXPECT_TRUE(second.waits.empty()) << testing::waits_text(second);
  EXPECT_EQ(second.copies_in, 9);  // timesteps, latents, noise and embeddings of both kinds, the videos' shift
}

TEST_P(TrainingOnBoth, PlainLoraWithoutCheckpointSegmentsEqualsTheCpus) {
  std::vector<Tensor> gradients;
  for (const at::Device device : {at::Device(at::kCPU), stand_in()}) {
    Backbone& gated = loaded(device);
    const inject::GraphProgram program(gated.bundle, device,
                                       {.segment_memory = {inject::SegmentMemory::keep}, .gated = false});
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
  EXPECT_LT(testing::distance(gradients[1], gradients[0]), testing::kRounding);
}

/// Losses, gates and gradient norm of all micro-batches are read at once: clipping and the checks need them.
TEST_P(TrainingOnBoth, AnOptimiserStepWaitsOnce) {
  for (const bool loss_scaling : {false, true}) {
    NanoRun run(loaded(stand_in()), stand_in());
    const Traffic one = run.traffic(1, loss_scaling), three = run.traffic(3, loss_scaling);
    EXPECT_EQ(three.waits.size() - one.waits.size(), 2U) << testing::waits_text(three);
    EXPECT_EQ(three.copies_out - one.copies_out, 2);
  }
}

TEST_P(TrainingOnBoth, ATensorLeftOnTheHostIsRefused) {
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
