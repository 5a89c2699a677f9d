#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/diffusion/prediction_type.h"
#include "scheduler_goldens.h"

namespace jointtuner::diffusion {
namespace {

TEST(PredictionType, TargetsEqualDiffusers) {
  const std::vector<int64_t> shape{4, 2, 3, 2, 2};
  const Tensor timestep = at::tensor({0, 17, 500, 999}, at::kLong), table = NoiseSchedule(zeroscope()).alphas_cumprod();
  const Tensor clean = wave(0.1, shape), noise = wave(0.2, shape);
  for (const PredictionType type : {PredictionType::epsilon, PredictionType::v}) {
    const NoisyExample example = noisy_example(type, clean, noise, timestep, table);
    EXPECT_LT(relative_difference(example.latents, goldens().at("ddpm/noisy")), 1e-6);
    if (type == PredictionType::epsilon)
      EXPECT_TRUE(example.target.equal(noise));
    else
      EXPECT_LT(relative_difference(example.target, goldens().at("ddpm/velocity")), 1e-6);
  }
}

TEST(PredictionType, CogVideoXTargetsEqualDiffusersAtBothEnds) {
  const std::vector<int64_t> shape{4, 2, 3, 2, 2};
  const Tensor timestep = at::tensor({0, 17, 998, 999}, at::kLong), clean = wave(0.1, shape), noise = wave(0.2, shape);
  for (const auto& [snr_shift, name] : {std::pair{3.0, "2b"}, std::pair{1.0, "5b"}}) {
    const Tensor table = NoiseSchedule(zero_snr(snr_shift)).alphas_cumprod();
    const NoisyExample example = noisy_example(PredictionType::v, clean, noise, timestep, table);
    EXPECT_LT(relative_difference(example.latents, cogvideox_goldens().at(std::string("noisy/") + name)), 1e-6);
    EXPECT_LT(relative_difference(example.target, cogvideox_goldens().at(std::string("velocity/") + name)), 1e-6);
    EXPECT_TRUE(example.latents[3].equal(noise[3]));  // pure noise at t = 999, and v is minus the clean latents
    EXPECT_TRUE(example.target[3].equal(-clean[3]));
  }
}

TEST(PredictionType, ConversionUndoesTheNoising) {
  const Tensor table = at::full({1}, 0.3, at::kDouble), timestep = at::zeros({1}, at::kLong);
  const Tensor clean = wave(0.1).to(at::kDouble), noise = wave(0.2).to(at::kDouble);
  for (const PredictionType type : {PredictionType::epsilon, PredictionType::v}) {
    const NoisyExample example = noisy_example(type, clean, noise, timestep, table);
    const Conversion c = conversion(type, 0.3);
    EXPECT_LT(relative_difference(example.latents * c.x0_from_latents + example.target * c.x0_from_prediction, clean),
              1e-14);
    EXPECT_LT(relative_difference(example.latents * c.epsilon_from_latents + example.target * c.epsilon_from_prediction,
                                  noise),
              1e-14);
  }
}

}  // namespace
}  // namespace jointtuner::diffusion
