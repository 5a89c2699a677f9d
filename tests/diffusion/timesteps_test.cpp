#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "jointtuner/base/error.h"
#include "jointtuner/diffusion/timesteps.h"
#include "scheduler_goldens.h"
#include "support/expect_error.h"

namespace jointtuner::diffusion {
namespace {

TEST(Timesteps, HandWorked) {
  const NoiseSchedule schedule(zeroscope());
  EXPECT_EQ(ddim_timesteps(schedule, 4), (std::vector<int64_t>{751, 501, 251, 1}));
  EXPECT_EQ(dpmpp_2m_timesteps(schedule, 4), (std::vector<int64_t>{801, 601, 401, 201}));
  EXPECT_EQ(ddim_inversion_timesteps(schedule, 4), (std::vector<int64_t>{1, 251, 501, 751}));
  EXPECT_EQ(ddim_timesteps(NoiseSchedule(zero_snr(1)), 4), (std::vector<int64_t>{999, 749, 499, 249}));
  EXPECT_EQ(ddim_timesteps(NoiseSchedule(linear()), 4), (std::vector<int64_t>{999, 666, 333, 0}));
}

using Timesteps = std::vector<int64_t> (*)(const NoiseSchedule&, int64_t);

void expect_fingerprints(const char* sampler, Timesteps timesteps, const char* spacing) {
  ScheduleConstants constants = zeroscope();
  constants.timestep_spacing = spacing;
  const NoiseSchedule schedule(constants);
  const Tensor& expected = goldens().at(std::string("timesteps/") + sampler + "_" + spacing);
  for (int64_t steps = 1; steps <= 1000; ++steps) {
    const int64_t wanted = expected[steps - 1].item<int64_t>();
    int64_t found = 0;
    try {
      const auto list = timesteps(schedule, steps);
      for (size_t i = 0; i < list.size(); ++i) found += static_cast<int64_t>(i + 1) * list[i];
    } catch (const Error&) {
      found = -1;
    }
    // numpy's arange now and then gives one timestep too many, from rounding; there ours keeps the asked number.
    if (wanted == -1 && std::string(spacing) == "trailing") continue;
    ASSERT_EQ(found, wanted) << sampler << " " << spacing << " " << steps << " steps";
  }
}

TEST(Timesteps, EqualDiffusersForEveryNumberOfSteps) {
  for (const char* spacing : {"leading", "trailing", "linspace"}) {
    expect_fingerprints("ddim", ddim_timesteps, spacing);
    expect_fingerprints("dpmpp_2m", dpmpp_2m_timesteps, spacing);
  }
  for (const char* spacing : {"leading", "trailing"})
    expect_fingerprints("inversion", ddim_inversion_timesteps, spacing);
}

/// By hand, T = 1000. t = 499: x = .4995, 3 x / (1 + 2 x) = 1.4985 / 1.999 = .74962. t = 0: .0015 / 1.001 = .0014985.
/// t = 999: 2.9985 / 2.999 = .99983. Shift 1/3 undoes 3: t = 749: x = .7495, .249833 / (1 - .499667) = .49933.
TEST(Timesteps, ShiftMovesTowardsNoise) {
  EXPECT_EQ(shifted_timestep(499, 3, 1000), 749);
  EXPECT_EQ(shifted_timestep(0, 3, 1000), 1);
  EXPECT_EQ(shifted_timestep(999, 3, 1000), 999);
  EXPECT_EQ(shifted_timestep(749, 1. / 3, 1000), 499);
  EXPECT_EQ(shifted_timestep(0, 100, 10), 8);  // x = .05: 5 / 5.95 = .84
  for (int64_t t = 0; t < 1000; ++t) EXPECT_EQ(shifted_timestep(t, 1, 1000), t);
}

/// Half of a uniform draw lies in the noisiest quarter for shift 3: 3 x / (1 + 2 x) >= 3/4 from x = 1/2 on.
TEST(Timesteps, ShiftThreePutsHalfIntoTheNoisiestQuarter) {
  int64_t noisy = 0, last = 0;
  for (int64_t t = 0; t < 1000; ++t) {
    const int64_t moved = shifted_timestep(t, 3, 1000);
    EXPECT_GE(moved, last);
    last = moved;
    noisy += moved >= 750 ? 1 : 0;
  }
  EXPECT_EQ(noisy, 500);
}

TEST(Timesteps, ErrorsSayWhatFits) {
  const NoiseSchedule schedule(zeroscope());
  EXPECT_ERROR(ddim_timesteps(schedule, 0), Error, "expected 1 to 1000 steps, found 0");
  EXPECT_ERROR(ddim_timesteps(schedule, 1001), Error, "found 1001");
  EXPECT_ERROR(ddim_timesteps(schedule, 1000), Error, "timestep 1000, outside 0 .. 999");
  EXPECT_ERROR(ddim_inversion_timesteps(NoiseSchedule(linear()), 5), Error, "found linspace");
  EXPECT_ERROR(shifted_timestep(1000, 1, 1000), Error,
               "expected a timestep in 0 .. 999 and a shift above 0, found 1000");
  EXPECT_ERROR(shifted_timestep(5, 0, 1000), Error, "found 5 and 0");
}

}  // namespace
}  // namespace jointtuner::diffusion
