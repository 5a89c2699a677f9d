// The trainer on real, very small denoisers of every family.
#include "jointtuner/train/denoise.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "fake_run.h"
#include "jointtuner/backbone/video_size.h"
#include "support/expect_error.h"
#include "support/families.h"

namespace jointtuner::train {

namespace {

using backbone::Bundle;

constexpr int64_t kSide = 6;

StepSettings settings_for(const backbone::Manifest& manifest) {
  StepSettings settings = fake_settings();
  settings.frames_multiple = manifest.denoiser.frames_multiple;
  return settings;
}

struct NanoRun {
  NanoRun(const testing::Family& family, const std::filesystem::path& path, TrainerOptions trainer_options,
          bool resume = false, inject::SegmentMemory memory = inject::SegmentMemory::recompute)
      : bundle(Bundle::open(family.bundle, backbone::Verify::sizes)),
        program(bundle, at::kCPU, {.segment_memory = {memory}}),
        adapters(program.sites(), kRank, true, at::kCPU),
        batches(data.items(), kSeed, 1, 0.0),
        step(data, diffusion::NoiseSchedule(bundle.manifest().schedule),
             adapted_denoiser(program, adapters, {.rank = kRank, .dropout = 0.1}), settings_for(bundle.manifest())),
        folder(path, fake_identity(), resume) {
    adapters.initialize(kSeed, bundle.manifest().denoiser.gate_init);
    for (int64_t item = 0; item < 4; ++item) {
      const std::vector<int64_t> shape = {item < 2 ? 1 : 3, kChannels, kSide, kSide};
      data.set_posterior({.item = item}, {formula(shape, item), formula(shape, 10 + item) + 0.75});
      data.set_embedding(
          "caption " + std::to_string(item),
          formula({1, bundle.manifest().text.max_length, bundle.manifest().text.embedding_width}, 20 + item));
    }
    trainer_options.metadata.denoiser_sha256 = "denoiser";
    trainer.emplace(TrainerParts{data, batches, step, adapters, folder}, std::move(trainer_options));
  }

  Tensor prediction(const adapter::AdapterSet* with) const {
    const at::NoGradGuard no_gradients;
    const backbone::Manifest& manifest = bundle.manifest();
    const Tensor latents =
        backbone::padded_frames(formula({1, kChannels, 3, kSide, kSide}, 7), manifest.denoiser.frames_multiple);
    return program.run(latents, at::arange(500, 501),
                       formula({1, manifest.text.max_length, manifest.text.embedding_width}, 8), with);
  }

  PreparedData data{fake_items()};
  Bundle bundle;
  inject::GraphProgram program;
  adapter::AdapterSet adapters;
  data::JointBatches batches;
  TrainingStep step;
  RunFolder folder;
  std::optional<Trainer> trainer;
};

class NanoDenoiser : public ::testing::TestWithParam<testing::Family> {};
FOR_ALL_FAMILIES(NanoDenoiser);

}  // namespace

TEST_P(NanoDenoiser, TrainsTheAdaptersAndNothingElse) {
  const testing::TemporaryFolder temporary;
  NanoRun run(GetParam(), temporary / "run", fake_options(4));
  const Tensor frozen = run.prediction(nullptr);
  EXPECT_TRUE(at::equal(run.prediction(&run.adapters), frozen));  // lora_up is 0
  const Tensor before = run.adapters.flat().clone();
  run.trainer->run();
  EXPECT_TRUE(at::equal(run.prediction(nullptr), frozen));
  EXPECT_FALSE(at::equal(run.prediction(&run.adapters), frozen));
  // Every site learns: each lora_up has left 0.
  for (size_t site = 0; site < run.adapters.size(); ++site)
    EXPECT_GT(run.adapters.at(site).up.abs().max().item().toDouble(), 0) << run.adapters.sites()[site].path;
  EXPECT_FALSE(at::equal(run.adapters.flat(), before));
}

TEST_P(NanoDenoiser, ResumedEqualsUninterrupted) {
  const testing::TemporaryFolder temporary;
  NanoRun whole(GetParam(), temporary / "whole", fake_options(3));
  whole.trainer->run();
  NanoRun(GetParam(), temporary / "run", fake_options(2)).trainer->run();
  NanoRun resumed(GetParam(), temporary / "run", fake_options(3), true, inject::SegmentMemory::offload);
  resumed.trainer->run();
  EXPECT_TRUE(at::equal(resumed.adapters.flat(), whole.adapters.flat()));
  for (const char* name : {"adapter.safetensors", "optimizer.safetensors"})
    EXPECT_EQ(bytes_of(resumed.folder.checkpoint(3) / name), bytes_of(whole.folder.checkpoint(3) / name)) << name;
}

TEST_P(NanoDenoiser, CheckpointingDoesNotChangeLossGradientOrMeanGate) {
  const testing::TemporaryFolder temporary;
  NanoRun with(GetParam(), temporary / "with", fake_options(2), false, inject::SegmentMemory::recompute);
  NanoRun without(GetParam(), temporary / "without", fake_options(2), false, inject::SegmentMemory::keep);
  for (NanoRun* run : {&with, &without}) run->adapters.assign(formula({run->adapters.parameters()}, 3) * 0.1);
  const TrainingStepResult a = with.step.run(with.batches.at(1));
  const TrainingStepResult b = without.step.run(without.batches.at(1));
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.mean_gate, b.mean_gate);
  // Gradients that meet in one tensor may be added in another order.
  EXPECT_TRUE(at::allclose(with.adapters.flat_gradient(), without.adapters.flat_gradient(), 1e-4, 1e-6));
}

}  // namespace jointtuner::train
