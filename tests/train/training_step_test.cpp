#include "jointtuner/train/training_step.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <optional>

#include "fake_run.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/diffusion/timesteps.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::train {

namespace {

/// Two videos and two images, mixed: the batch of the golden.
data::JointBatch mixed_batch() {
  data::JointBatch batch;
  batch.micro_step = 7;
  for (const int64_t item : {2, 0, 3, 1}) batch.draws.push_back({.item = item, .flip = false, .clip = 0});
  return batch;
}

data::JointBatch only(std::vector<int64_t> items) {
  data::JointBatch batch = mixed_batch();
  batch.draws.clear();
  for (const int64_t item : items) batch.draws.push_back({.item = item, .flip = false, .clip = 0});
  return batch;
}

/// The step's result and the gradient it left.
struct Ran {
  TrainingStepResult result;
  Tensor gradient;
};

Ran run(const data::JointBatch& batch, const StepSettings& settings, const std::string& prediction_type = "epsilon",
        double gradient_factor = 1, double dropout = 0) {
  const PreparedData data = fake_data();
  adapter::AdapterSet adapters = fake_adapters();
  adapters.set_requires_grad(true);
  const TrainingStep step(data, fake_schedule(prediction_type), fake_denoiser(adapters, dropout), settings);
  TrainingStepResult result = step.run(batch, gradient_factor);
  return {std::move(result), adapters.flat_gradient().clone()};
}

}  // namespace

/// An independent Python script draws by the documented names and differentiates the plain formulas.
TEST(TrainingStep, EqualsTheIndependentImplementation) {
  const Safetensors golden = load_safetensors(testing::golden("train/step.safetensors"));
  for (const char* name : {"epsilon_ait", "epsilon_diffusion", "v_prediction_ait"}) {
    const std::string text = name;
    const size_t cut = text.rfind('_');
    const auto expected = [&](const char* key) { return golden.at(text + "." + key); };
    const Ran ran = run(mixed_batch(), fake_settings(text.substr(cut + 1)), text.substr(0, cut));
    // fp32 rounding of sums of up to 360 terms.
    EXPECT_NEAR(ran.result.loss, expected("loss").item().toDouble(), 1e-5) << name;
    ASSERT_TRUE(ran.result.mean_gate.has_value());
    EXPECT_NEAR(*ran.result.mean_gate, expected("mean_gate").item().toDouble(), 1e-6) << name;
    EXPECT_TRUE(at::allclose(ran.gradient, expected("gradient"), 1e-4, 1e-5)) << name << ran.gradient;
    ASSERT_EQ(ran.result.items.size(), 4u);
    for (int64_t place = 0; place < 4; ++place) {
      const ItemResult& item = ran.result.items[static_cast<size_t>(place)];
      EXPECT_EQ(item.draw, mixed_batch().draws[static_cast<size_t>(place)]);
      EXPECT_EQ(item.kind, place % 2 == 0 ? data::Kind::video : data::Kind::image);
      EXPECT_EQ(item.timestep, expected("timestep")[place].item().toLong()) << name << place;
      EXPECT_NEAR(item.loss, expected("losses")[place].item().toDouble(), 1e-5) << name << place;
    }
  }
}

TEST(TrainingStep, DropoutSeedIsTheNamedDraw) {
  const Safetensors golden = load_safetensors(testing::golden("train/step.safetensors"));
  std::vector<int64_t> seeds;
  const PreparedData data = fake_data();
  adapter::AdapterSet adapters = fake_adapters();
  adapters.set_requires_grad(true);
  const Denoise inner = fake_denoiser(adapters);
  const TrainingStep step(
      data, fake_schedule(),
      [&](const Tensor& latents, const Tensor& timestep, const Tensor& prompt, int64_t dropout_seed) {
        seeds.push_back(dropout_seed);
        return inner(latents, timestep, prompt, dropout_seed);
      },
      fake_settings());
  step.run(mixed_batch());
  const int64_t expected = golden.at("epsilon_ait.dropout_seed").item().toLong();
  EXPECT_EQ(seeds, (std::vector<int64_t>{expected, expected}));  // the images' run and the videos'
}

TEST(TrainingStep, ZeroStrengthIsThePlainLossBitForBit) {
  const Ran shifted = run(mixed_batch(), fake_settings("ait", 0.0));
  const Ran plain = run(mixed_batch(), fake_settings("diffusion"));
  const Ran strong = run(mixed_batch(), fake_settings("ait", 1.0));
  EXPECT_EQ(shifted.result.loss, plain.result.loss);
  EXPECT_TRUE(at::equal(shifted.gradient, plain.gradient));
  EXPECT_NE(strong.result.loss, plain.result.loss);
  // An image never gets a shift.
  EXPECT_EQ(strong.result.items[1].loss, plain.result.items[1].loss);
}

TEST(TrainingStep, TimestepShiftMovesItsOwnKindOnly) {
  for (const data::Kind moved : {data::Kind::image, data::Kind::video}) {
    StepSettings settings = fake_settings();
    const Ran uniform = run(mixed_batch(), settings);
    (moved == data::Kind::video ? settings.loss.video_timestep_shift : settings.loss.image_timestep_shift) = 3;
    const Ran shifted = run(mixed_batch(), settings);
    for (size_t place = 0; place < 4; ++place) {
      const ItemResult &before = uniform.result.items[place], &after = shifted.result.items[place];
      if (before.kind != moved) {
        EXPECT_EQ(after.timestep, before.timestep);
        EXPECT_EQ(after.loss, before.loss);
      } else {
        EXPECT_EQ(after.timestep, diffusion::shifted_timestep(before.timestep, 3, 1000));
        EXPECT_GT(after.timestep, before.timestep);
        EXPECT_NE(after.loss, before.loss);  // the step was run there, not only reported
      }
    }
  }
}

TEST(TrainingStep, LossIsTheWeightedMean) {
  StepSettings settings = fake_settings();
  settings.loss.image_weight = 2;
  settings.loss.video_weight = 5;
  const TrainingStepResult result = run(mixed_batch(), settings).result;
  EXPECT_DOUBLE_EQ(
      result.loss,
      (5 * result.items[0].loss + 2 * result.items[1].loss + 5 * result.items[2].loss + 2 * result.items[3].loss) / 4);
}

TEST(TrainingStep, GradientFactorScalesTheGradientOnly) {
  const Ran whole = run(mixed_batch(), fake_settings());
  const Ran part = run(mixed_batch(), fake_settings(), "epsilon", 0.25);
  EXPECT_EQ(part.result.loss, whole.result.loss);
  EXPECT_TRUE(at::equal(part.gradient * 4, whole.gradient));  // powers of two are exact
}

/// Two micro-batches with factor 1/2 leave what the average of their gradients is.
TEST(TrainingStep, GradientsOfMicroBatchesAddUp) {
  const PreparedData data = fake_data();
  adapter::AdapterSet adapters = fake_adapters();
  adapters.set_requires_grad(true);
  const TrainingStep step(data, fake_schedule(), fake_denoiser(adapters), fake_settings());
  data::JointBatch second = only({1});
  second.micro_step = 8;
  step.run(only({2}), 0.5);
  step.run(second, 0.5);
  const Tensor expected = (run(only({2}), fake_settings()).gradient + run(second, fake_settings()).gradient) / 2;
  EXPECT_TRUE(at::allclose(adapters.flat_gradient(), expected, 1e-5, 1e-7));
}

/// The images' group is drawn first, so that an image in place 0 is treated alike whatever video follows it; in a batch
/// of two it has half the weight.
TEST(TrainingStep, ItemOfABatchOfTwoHasHalfTheGradient) {
  StepSettings images_only = fake_settings();
  images_only.loss.video_weight = 0;
  const Ran both = run(only({0, 2}), images_only);
  const Ran alone = run(only({0}), fake_settings(), "epsilon", 0.5);
  EXPECT_EQ(both.result.items[0].timestep, alone.result.items[0].timestep);
  EXPECT_EQ(both.result.items[0].loss, alone.result.items[0].loss);
  EXPECT_DOUBLE_EQ(both.result.loss, alone.result.loss / 2);
  EXPECT_TRUE(at::equal(both.gradient, alone.gradient));
}

TEST(TrainingStep, DropoutIsRepeatable) {
  const Ran first = run(mixed_batch(), fake_settings(), "epsilon", 1, 0.5);
  const Ran again = run(mixed_batch(), fake_settings(), "epsilon", 1, 0.5);
  const Ran without = run(mixed_batch(), fake_settings());
  EXPECT_TRUE(at::equal(first.gradient, again.gradient));
  EXPECT_NE(first.result.loss, without.result.loss);
}

TEST(TrainingStep, NamesWhatWasNotPrepared) {
  EXPECT_ERROR(run(
                   [] {
                     data::JointBatch batch;
                     batch.draws = {{.item = 1, .flip = true, .clip = 0}};
                     return batch;
                   }(),
                   fake_settings()),
               Error, "images/1.png", "flip true");
}

TEST(TrainingStep, RefusesLatentsOfDifferentSizesInOneGroup) {
  PreparedData data = fake_data();
  data.set_posterior({.item = 3, .flip = false, .clip = 0}, {formula({2, 4, 3, 5}, 1), formula({2, 4, 3, 5}, 2)});
  adapter::AdapterSet adapters = fake_adapters();
  adapters.set_requires_grad(true);
  const TrainingStep step(data, fake_schedule(), fake_denoiser(adapters), fake_settings());
  EXPECT_ERROR(step.run(mixed_batch()), Error, "videos/3.mp4", "[2, 4, 3, 5]", "[6, 4, 3, 5]");
}

}  // namespace jointtuner::train
