#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "jointtuner/base/error.h"
#include "jointtuner/diffusion/guidance.h"
#include "jointtuner/diffusion/timesteps.h"
#include "scheduler_goldens.h"
#include "support/expect_error.h"

namespace jointtuner::diffusion {
namespace {

TEST(Guidance, DynamicEqualsCogVideoXPipeline) {
  struct Case {
    const char* name;
    int64_t steps;
    double guidance_scale;
  };
  for (const Case& c : {Case{"50_6", 50, 6}, Case{"15_6", 15, 6}, Case{"1_3", 1, 3}}) {
    const Tensor& expected = cogvideox_goldens().at(std::string("guidance/2b_") + c.name + "_dynamic");
    const auto timesteps = ddim_timesteps(NoiseSchedule(zero_snr(3)), c.steps);
    ASSERT_EQ(expected.numel(), c.steps);
    for (int64_t n = 0; n < c.steps; ++n) {
      const int64_t timestep = timesteps[static_cast<size_t>(n)];
      // The same libm, so the same bits; what a libm may differ by, 1 ulp of an argument of up to 3e15, is any cosine.
      EXPECT_DOUBLE_EQ(guidance_at(GuidanceSchedule::dynamic, c.guidance_scale, c.steps, timestep),
                       expected[n].item<double>())
          << c.name << " at timestep " << timestep;
    }
  }
}

TEST(Guidance, DynamicByHand) {
  const auto scale = [](double g, int64_t steps, int64_t timestep) {
    return guidance_at(GuidanceSchedule::dynamic, g, steps, timestep);
  };
  EXPECT_EQ(scale(6, 50, 0), 7);   // cos(pi) = -1: the largest scale is 1 + g
  EXPECT_EQ(scale(6, 50, 50), 1);  // cos(0) = 1
  EXPECT_EQ(scale(6, 10, 20), 7);  // ((10 - 20) / 10)^5 = -1
  EXPECT_NEAR(scale(6, 50, 25), 1 + 6 * (1 - 0.99518472667219693) / 2, 1e-14);  // cos(pi / 32)
  for (const double off : {1.0, 0.5, 0.0}) EXPECT_EQ(scale(off, 50, 0), 1);
}

TEST(Guidance, ConstantIsWhatWasAskedFor) {
  for (const double scale : {0.0, 0.5, 1.0, 6.0})
    EXPECT_EQ(guidance_at(GuidanceSchedule::constant, scale, 50, 500), scale);
}

TEST(Guidance, NamesRoundTrip) {
  for (const char* text : {"constant", "dynamic"}) EXPECT_EQ(name(parse_guidance_schedule(text)), text);
  EXPECT_ERROR(parse_guidance_schedule("cosine"), Error, "constant or dynamic", "'cosine'");
}

}  // namespace
}  // namespace jointtuner::diffusion
