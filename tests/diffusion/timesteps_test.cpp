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

TEST(Timesteps, ErrorsSayWhatFits) {
  const NoiseSchedule schedule(zeroscope());
  EXPECT_ERROR(ddim_timesteps(schedule, 0), Error, "expected 1 to 1000 steps, found 0");
  EXPECT_ERROR(ddim_timesteps(schedule, 1001), Error, "found 1001");
  EXPECT_ERROR(ddim_timesteps(schedule, 1000), Error, "timestep 1000, outside 0 .. 999");
  EXPECT_ERROR(ddim_inversion_timesteps(NoiseSchedule(linear()), 5), Error, "found linspace");
}

}  // namespace
}  // namespace jointtuner::diffusion
