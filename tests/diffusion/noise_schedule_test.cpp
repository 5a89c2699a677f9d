// Against the real diffusers schedulers: tests/goldens/make/diffusion.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "jointtuner/base/error.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "scheduler_goldens.h"
#include "support/expect_error.h"

namespace jointtuner::diffusion {
namespace {

/// diffusers multiplies 1000 numbers in float32: up to 1000 roundings of 6e-8, in practice their square root.
TEST(NoiseSchedule, TablesEqualDiffusers) {
  const auto difference = [](const ScheduleConstants& constants, const char* name) {
    const Tensor& expected = goldens().at(std::string("alphas/") + name);
    const Tensor found = NoiseSchedule(constants).alphas_cumprod();
    return ((found - expected).abs() / (expected + 1e-9)).max().item<double>();
  };
  EXPECT_LT(difference(zeroscope(), "zeroscope"), 1e-5);
  EXPECT_LT(difference(linear(), "linear"), 2e-5);
  // Near 0 the rescaled and the cosine tables are differences of close numbers in float32: compare absolutely.
  for (const auto& [constants, name] : {std::pair{zero_snr(1), "zero_snr"}, std::pair{cosine(), "cosine"}}) {
    const Tensor& expected = goldens().at(std::string("alphas/") + name);
    EXPECT_LT((NoiseSchedule(constants).alphas_cumprod() - expected).abs().max().item<double>(), 5e-6) << name;
  }
}

/// CogVideoX' two classes compute in float64, as we do. Near t = 999 the rescaling subtracts close numbers, which turns
/// roundings of 1e-16 into some 1e-13 of what is left.
TEST(NoiseSchedule, CogVideoXTablesEqualDiffusersInFloat64) {
  for (const auto& [snr_shift, name] : {std::pair{3.0, "alphas/2b"}, std::pair{1.0, "alphas/5b"}}) {
    const Tensor expected = cogvideox_goldens().at(name);
    const NoiseSchedule schedule(zero_snr(snr_shift));
    ASSERT_EQ(expected.scalar_type(), at::kDouble);
    ASSERT_EQ(expected.numel(), 1000);
    EXPECT_EQ(expected[999].item<double>(), 0);
    for (int64_t t = 0; t < 1000; ++t) {
      const double wanted = expected[t].item<double>();
      ASSERT_NEAR(schedule.alpha_cumprod(t), wanted, 1e-11 * wanted) << name << " at " << t;
    }
    EXPECT_TRUE(schedule.alphas_cumprod().allclose(expected.to(at::kFloat), 1e-7, 0));  // one float32 rounding
  }
}

TEST(NoiseSchedule, EndsAsAsked) {
  EXPECT_EQ(NoiseSchedule(zero_snr(1)).alpha_cumprod(999), 0);
  EXPECT_EQ(NoiseSchedule(zero_snr(1)).alpha_cumprod(-1), 1);
  const NoiseSchedule schedule(zeroscope());
  EXPECT_DOUBLE_EQ(schedule.alpha_cumprod(0), 1 - 0.00085);
  EXPECT_EQ(schedule.alpha_cumprod(-34), schedule.alpha_cumprod(0));
  EXPECT_ERROR(schedule.alpha_cumprod(1000), Error, "timestep 1000 is outside 0 .. 999");
}

TEST(NoiseSchedule, ErrorsNameTheConstant) {
  const auto with = [](auto&& change) {
    ScheduleConstants c;
    change(c);
    return NoiseSchedule(c);
  };
  EXPECT_ERROR(with([](auto& c) { c.beta_schedule = "sigmoid"; }), Error, "beta_schedule", "'sigmoid'");
  EXPECT_ERROR(with([](auto& c) { c.prediction_type = "sample"; }), Error, "epsilon or v", "'sample'");
  EXPECT_ERROR(with([](auto& c) { c.timestep_spacing = "karras"; }), Error, "timestep_spacing", "'karras'");
  EXPECT_ERROR(with([](auto& c) { c.beta_end = 0; }), Error, "beta_start <= beta_end", "0.00085 and 0");
  EXPECT_ERROR(with([](auto& c) { c.train_timesteps = 1; }), Error, "train_timesteps", "1");
}

}  // namespace
}  // namespace jointtuner::diffusion
