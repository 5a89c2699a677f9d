#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <utility>
#include <vector>

#include "jointtuner/base/generator.h"
#include "jointtuner/diffusion/losses.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/diffusion/prediction_type.h"
#include "scheduler_goldens.h"

namespace jointtuner::diffusion {
namespace {

Tensor gradient(const Tensor& loss, const Tensor& input) { return torch::autograd::grad({loss}, {input})[0]; }

TEST(Losses, AitIsThePlainLossPlusStrengthSquaredInExpectation) {
  const Tensor prediction = wave(0.1, {1, 4, 2, 50, 50}), target = wave(0.7, {1, 4, 2, 50, 50});
  const double plain = diffusion_loss(prediction, target).item<double>(), strength = 0.8;
  double mean = 0;
  constexpr int kDraws = 60;
  for (int i = 0; i < kDraws; ++i) {
    const Tensor shift = normal_draw({1, 1, 1, 50, 50}, generator(1, i, "prediction_shift"));
    mean += ait_loss(prediction, target, shift, strength).item<double>() / kDraws;
  }
  // Standard deviation of mean(s^2) over 150,000 draws: 0.64 * sqrt(2 / 150000) = 0.0023, of the cross term less; 4 of
  // them.
  EXPECT_NEAR(mean, plain + strength * strength, 0.012);
}

TEST(Losses, ShiftMovesOnlyTheGradientsStaticPart) {
  const std::vector<int64_t> shape{2, 3, 4, 5, 6};
  const Tensor prediction = wave(0.1, shape).to(at::kDouble).requires_grad_(true),
               target = wave(0.7, shape).to(at::kDouble);
  const Tensor shift = wave(0.3, {2, 1, 1, 5, 6}).to(at::kDouble);
  const Tensor plain = gradient(diffusion_loss(prediction, target).sum(), prediction);
  const Tensor shifted = gradient(ait_loss(prediction, target, shift, 1.5).sum(), prediction);
  const double count = 3 * 4 * 5 * 6;
  // What the shift adds is the same for all channels and frames: 2 strength s / count.
  EXPECT_LT((shifted - plain - shift * (2 * 1.5 / count)).abs().max().item<double>(), 1e-15);
  const auto moving = [](const Tensor& g) { return g - g.mean(at::IntArrayRef{1, 2}, true); };
  EXPECT_LT((moving(shifted) - moving(plain)).abs().max().item<double>(), 1e-15);
}

TEST(Losses, EachItemByItselfAndZeroStrengthPlain) {
  const Tensor prediction = wave(0.1, {3, 2, 1, 4, 4}), target = wave(0.7, {3, 2, 1, 4, 4}),
               shift = wave(0.2, {3, 1, 1, 4, 4});
  const Tensor losses = diffusion_loss(prediction, target);
  ASSERT_EQ(losses.sizes(), at::IntArrayRef({3}));
  for (int64_t i = 0; i < 3; ++i) {
    const double expected = (prediction[i] - target[i]).square().mean().item<double>();
    EXPECT_NEAR(losses[i].item<double>(), expected, 1e-6);
  }
  EXPECT_TRUE(ait_loss(prediction, target, shift, 0).equal(losses));
}

/// The published code's own numbers, in float32 through diffusers' scheduler. At t = 0 its weight 1 / (1 - a) of up to
/// 1000 magnifies the roundings of x0: 7e-6 (2B) and 2.5e-5 (5B) were found, elsewhere 5e-6 and less.
TEST(Losses, AitOnVelocityEqualsThePublishedLoss) {
  const std::vector<int64_t> timesteps{0, 1, 17, 250, 500, 750, 998, 999};
  const Tensor shift = wave(0.3, {1, 1, 1, 4, 5}), prediction = wave(0.9);
  for (const auto& [snr_shift, name] : {std::pair{3.0, "losses/2b"}, std::pair{1.0, "losses/5b"}}) {
    const Tensor table = NoiseSchedule(zero_snr(snr_shift)).alphas_cumprod();
    for (size_t i = 0; i < timesteps.size(); ++i) {
      const NoisyExample example =
          noisy_example(PredictionType::v, wave(0.1), wave(0.2), at::tensor({timesteps[i]}, at::kLong), table);
      const double published = cogvideox_goldens().at(name)[static_cast<int64_t>(i)].item<double>();
      const double found = ait_loss(prediction, example.target, shift, 1).item<double>();
      EXPECT_NEAR(found, published, (timesteps[i] == 0 ? 5e-5 : 1e-5) * published) << name << " at " << timesteps[i];
    }
  }
}

/// The published CogVideoX loss converts prediction + s to x0 and weights with 1 / (1 - a): the same number,
/// for x0 = sqrt(a) x_t - sqrt(1 - a) v.
TEST(Losses, AitOnVelocityEqualsThePublishedX0Form) {
  const std::vector<int64_t> shape{1, 2, 3, 4, 5};
  const Tensor clean = wave(0.1, shape).to(at::kDouble), noise = wave(0.2, shape).to(at::kDouble);
  const Tensor shift = wave(0.3, {1, 1, 1, 4, 5}).to(at::kDouble), prediction = wave(0.9, shape).to(at::kDouble);
  for (const double a : {0.9, 0.4, 0.01}) {
    const NoisyExample example =
        noisy_example(PredictionType::v, clean, noise, at::zeros({1}, at::kLong), at::full({1}, a, at::kDouble));
    const Conversion c = conversion(PredictionType::v, a);
    const Tensor x0 = example.latents * c.x0_from_latents + (prediction + shift) * c.x0_from_prediction;
    const double published = (x0 - clean).square().mean().item<double>() / (1 - a);
    EXPECT_NEAR(ait_loss(prediction, example.target, shift, 1).item<double>(), published, 1e-12 * published);
  }
}

}  // namespace
}  // namespace jointtuner::diffusion
