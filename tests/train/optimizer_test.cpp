#include "jointtuner/train/optimizer.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fake_run.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::train {

using jointtuner::testing::golden;

TEST(AdamW, HandWorkedSteps) {
  TrainOptions options;
  options.beta1 = 0.5;
  options.beta2 = 0.75;
  options.epsilon = 0;
  options.weight_decay = 0.5;
  const Tensor parameter = at::ones({1});
  AdamW optimizer(parameter, options);
  // t = 1: decay 1 - 0.1 * 0.5 = 0.95; m^ = g = 2, v^ = g^2 = 4: minus 0.1 * 2 / 2.
  optimizer.step(at::tensor({2.0f}), 0.1);
  EXPECT_NEAR(parameter.item().toDouble(), 0.85, 1e-6);
  // t = 2: 0.85 * 0.95; m = 0.5 * 1 - 0.5 * 1 = 0, so that nothing else is subtracted.
  optimizer.step(at::tensor({-1.0f}), 0.1);
  EXPECT_NEAR(parameter.item().toDouble(), 0.8075, 1e-6);
  // t = 3: 0.8075 * 0.95 = 0.767125; m^ = 1.5 / 0.875, v^ = (0.75 + 0.25 * 9) / 0.578125: minus 0.1 * 0.7525470.
  optimizer.step(at::tensor({3.0f}), 0.1);
  EXPECT_NEAR(parameter.item().toDouble(), 0.767125 - 0.0752547, 1e-6);
  EXPECT_EQ(optimizer.state().at("step").item().toLong(), 3);
}

TEST(AdamW, EqualsTorchOptim) {
  const Safetensors expected = load_safetensors(golden("train/adamw.safetensors"));
  TrainOptions options;
  options.beta2 = 0.95;
  options.epsilon = 1e-6;
  options.weight_decay = 0.1;
  const Tensor parameters = formula({37}, 1);
  AdamW optimizer(parameters, options);
  for (int64_t step = 0; step < 5; ++step) {
    optimizer.step(formula({37}, 50 + step), 1e-2 * static_cast<double>(step + 1));
    // Rounding of another order of operations: a few units in the last place of values up to 0.5.
    EXPECT_TRUE(at::allclose(parameters, expected.at("parameters")[step], 1e-6, 2e-7)) << step;
  }
  EXPECT_TRUE(at::allclose(optimizer.state().at("exp_avg"), expected.at("exp_avg"), 1e-6, 1e-8));
  EXPECT_TRUE(at::allclose(optimizer.state().at("exp_avg_sq"), expected.at("exp_avg_sq"), 1e-6, 1e-8));
}

TEST(AdamW, RestoredContinuesBitForBit) {
  const testing::TemporaryFolder folder;
  const Tensor parameters = formula({37}, 1);
  AdamW optimizer(parameters, {});
  optimizer.step(formula({37}, 2), 0.1);
  save_safetensors(folder / "state.safetensors", optimizer.state());
  const Tensor copied = parameters.clone();
  AdamW restored(copied, {});
  restored.restore(load_safetensors(folder / "state.safetensors"));
  EXPECT_EQ(restored.state().at("step").item().toLong(), 1);
  for (int64_t step = 0; step < 3; ++step) {
    optimizer.step(formula({37}, 3 + step), 0.1);
    restored.step(formula({37}, 3 + step), 0.1);
  }
  EXPECT_TRUE(at::equal(parameters, copied));
}

TEST(AdamW, RefusesAStateOfAnotherSize) {
  AdamW small(formula({3}, 1), {});
  AdamW large(formula({4}, 1), {});
  EXPECT_ERROR(large.restore(small.state()), Error, "exp_avg", "[4]", "[3]");
  EXPECT_ERROR(large.step(formula({3}, 1), 0.1), Error, "gradient", "[4]", "[3]");
}

TEST(GradientClip, HandWorked) {
  const Tensor gradient = at::tensor({3.0f, -4.0f});
  EXPECT_DOUBLE_EQ(gradient_norm(gradient).item().toDouble(), 5.0);
  clip_gradient(gradient, 5.0, 0);  // 0 = none
  EXPECT_DOUBLE_EQ(gradient_norm(gradient).item().toDouble(), 5.0);
  clip_gradient(gradient, 5.0, 10);
  EXPECT_DOUBLE_EQ(gradient_norm(gradient).item().toDouble(), 5.0);
  clip_gradient(gradient, 5.0, 1);
  EXPECT_NEAR(gradient[0].item().toDouble(), 0.6, 1e-6);
  EXPECT_NEAR(gradient[1].item().toDouble(), -0.8, 1e-6);
}

TEST(GradientNorm, TellsWhatIsNotFinite) {
  EXPECT_TRUE(std::isnan(gradient_norm(at::tensor({1.0f, std::nanf("")})).item().toDouble()));
  EXPECT_TRUE(std::isinf(gradient_norm(at::tensor({1.0f, -std::numeric_limits<float>::infinity()})).item().toDouble()));
}

}  // namespace jointtuner::train
