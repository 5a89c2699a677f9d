// Against the real diffusers schedulers: tests/goldens/make/diffusion.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "jointtuner/base/error.h"
#include "jointtuner/diffusion/sampler.h"
#include "scheduler_goldens.h"
#include "support/expect_error.h"

namespace jointtuner::diffusion {
namespace {

struct Case {
  const char* name;
  ScheduleConstants constants;
  int64_t steps;
  double guidance_scale;
};

/// float32 steps with table roundings of 1e-6, amplified by guidance up to 12: 1e-4 leaves an order of magnitude.
constexpr double kSampleTolerance = 1e-4;

TEST(Sampler, DdimEqualsDiffusers) {
  ScheduleConstants clipped = linear();
  clipped.clip_sample = true;
  clipped.clip_sample_range = 0.8;
  const std::vector<Case> cases{{"zeroscope_30_12", zeroscope(), 30, 12}, {"zeroscope_7_1", zeroscope(), 7, 1},
                                {"linear_20_3_clip", clipped, 20, 3},     {"cosine_12_3", cosine(), 12, 3},
                                {"zero_snr_15_6", zero_snr(1), 15, 6},    {"cogvideox_2b_15_6", zero_snr(3), 15, 6}};
  for (const Case& c : cases) {
    const Tensor found = sample_ddim(NoiseSchedule(c.constants), one_by_one(one_prediction, c.guidance_scale),
                                     wave(0.5), settings(c.steps, c.guidance_scale));
    const double difference = relative_difference(found, goldens().at(std::string("ddim/") + c.name));
    EXPECT_LT(difference, kSampleTolerance) << c.name;
  }
}

TEST(Sampler, StochasticDdimEqualsDiffusers) {
  SamplerSettings s = settings(10, 3);
  s.eta = 0.7;
  s.noise = [](int64_t step) { return wave(static_cast<double>(step)); };
  const Tensor found = sample_ddim(NoiseSchedule(zeroscope()), one_by_one(one_prediction, 3), wave(0.5), s);
  EXPECT_LT(relative_difference(found, goldens().at("ddim/zeroscope_10_3_eta")), kSampleTolerance);
}

TEST(Sampler, DpmSolverEqualsDiffusers) {
  const std::vector<Case> cases{{"zeroscope_20_12", zeroscope(), 20, 12}, {"zeroscope_2_3", zeroscope(), 2, 3},
                                {"zeroscope_1_1", zeroscope(), 1, 1},     {"linear_9_3", linear(), 9, 3},
                                {"cosine_16_3", cosine(), 16, 3},         {"zero_snr_25_6", zero_snr(1), 25, 6}};
  for (const Case& c : cases) {
    const Tensor found = sample_dpmpp_2m(NoiseSchedule(c.constants), one_by_one(one_prediction, c.guidance_scale),
                                         wave(0.5), settings(c.steps, c.guidance_scale));
    EXPECT_LT(relative_difference(found, goldens().at(std::string("dpmpp_2m/") + c.name)), kSampleTolerance) << c.name;
  }
}

/// A run of diffusers' CogVideoXPipeline.
struct PipelineRun {
  const char* name;
  int64_t steps;
  double guidance_scale;
  GuidanceSchedule guidance_schedule;
};

/// 30, 15 and 7 do not divide 1000: the sampler's next timestep is then not the list's, and 15 and 7 end at timestep 0.
const std::vector<PipelineRun> kPipelineRuns{
    {"50_6_dynamic", 50, 6, GuidanceSchedule::dynamic},   {"30_6_constant", 30, 6, GuidanceSchedule::constant},
    {"15_6_dynamic", 15, 6, GuidanceSchedule::dynamic},   {"7_1_dynamic", 7, 1, GuidanceSchedule::dynamic},
    {"4_0.5_dynamic", 4, 0.5, GuidanceSchedule::dynamic}, {"2_6_constant", 2, 6, GuidanceSchedule::constant},
    {"1_3_dynamic", 1, 3, GuidanceSchedule::dynamic}};

/// What the golden script gives the scheduler in step n.
Tensor golden_noise(int64_t step) { return wave(100.0 + static_cast<double>(step)); }

/// The largest relative difference of any step's latents to `expected` [steps, ...].
double step_difference(Sampler sampler, const ScheduleConstants& constants, SamplerSettings s, const Tensor& expected) {
  double result = 0;
  s.noise = golden_noise;
  s.on_step = [&](const StepReport& report) {
    result = std::max(result, relative_difference(report.latents, expected.narrow(0, report.step - 1, 1)));
  };
  EXPECT_EQ(expected.size(0), s.steps);
  const Tensor last =
      sample(sampler, NoiseSchedule(constants), one_by_one(one_prediction, s.guidance_scale), wave(0.5), s);
  EXPECT_LE(relative_difference(last, expected.narrow(0, s.steps - 1, 1)), result);
  return result;
}

/// 50 float32 steps differ by 8e-7 at most.
constexpr double kStepTolerance = 5e-6;

TEST(Sampler, EveryStepEqualsCogVideoXPipeline) {
  for (const Sampler sampler : {Sampler::ddim, Sampler::dpmpp_2m_sde}) {
    for (const auto& [snr_shift, model] : {std::pair{3.0, "2b"}, std::pair{1.0, "5b"}}) {
      for (const PipelineRun& run : kPipelineRuns) {
        SamplerSettings s = settings(run.steps, run.guidance_scale);
        s.guidance_schedule = run.guidance_schedule;
        const std::string key = name(sampler) + "/" + model + "_" + run.name;
        const double difference = step_difference(sampler, zero_snr(snr_shift), s, cogvideox_goldens().at(key));
        EXPECT_LT(difference, kStepTolerance) << key;
      }
    }
  }
}

TEST(Sampler, SdeEqualsDiffusersOnAnotherSchedule) {
  ScheduleConstants constants = zeroscope();  // epsilon, leading with an offset, and a last step to alphas_cumprod[0]
  EXPECT_LT(step_difference(Sampler::dpmpp_2m_sde, constants, settings(10, 3),
                            cogvideox_goldens().at("dpmpp_2m_sde/leading_10_3_constant")),
            kStepTolerance);
}

TEST(Sampler, SdeDrawsOnceAStepByNumberAndNotForItsLast) {
  std::vector<int64_t> asked;
  SamplerSettings s = settings(4);
  s.noise = [&](int64_t step) {
    asked.push_back(step);
    return golden_noise(step);
  };
  sample_dpmpp_2m_sde(NoiseSchedule(zero_snr(1)), one_by_one(one_prediction, 1), wave(0.5), s);
  EXPECT_EQ(asked, (std::vector<int64_t>{0, 1, 2}));
}

TEST(Sampler, OneSdeStepFromPureNoiseIsMinusTheVelocity) {
  SamplerSettings s = settings(1);
  s.noise = golden_noise;
  const Tensor found = sample_dpmpp_2m_sde(NoiseSchedule(zero_snr(3)), one_by_one(one_prediction, 1), wave(0.5), s);
  EXPECT_TRUE(found.equal(-one_prediction(wave(0.5), 999, Condition::conditional)));
}

TEST(Sampler, InversionEqualsDiffusers) {
  const auto denoise = one_by_one(one_prediction, 1);
  EXPECT_LT(relative_difference(invert_ddim(NoiseSchedule(zeroscope()), denoise, wave(0.5), settings(20)),
                                goldens().at("inversion/zeroscope_20_1")),
            kSampleTolerance);
  EXPECT_LT(relative_difference(invert_ddim(NoiseSchedule(zero_snr(1)), denoise, wave(0.5), settings(10)),
                                goldens().at("inversion/zero_snr_10_1")),
            kSampleTolerance);
}

/// Knows the clean latents and says exactly which noise (or v) the given latents then hold.
SamplerDenoise perfect_denoiser(const NoiseSchedule& schedule, const Tensor& clean) {
  return [&schedule, clean](const Tensor& x, int64_t timestep) {
    const double a = schedule.alpha_cumprod(timestep);
    const Tensor noise = (x - clean * std::sqrt(a)) / std::sqrt(1 - a);
    const Tensor v = noise * std::sqrt(a) - clean * std::sqrt(1 - a);
    return DenoiserOutput{Tensor(), schedule.prediction_type() == PredictionType::epsilon ? noise : v};
  };
}

TEST(Sampler, PerfectDenoiserGivesTheCleanLatents) {
  const Tensor clean = wave(2).to(at::kDouble), start = wave(0.5).to(at::kDouble);
  ScheduleConstants to_one = zeroscope();
  to_one.final_alpha_one = true;
  for (const ScheduleConstants& constants : {to_one, linear(), cosine(), zero_snr(1), zero_snr(3)}) {
    const NoiseSchedule schedule(constants);
    for (const Sampler sampler : {Sampler::ddim, Sampler::dpmpp_2m, Sampler::dpmpp_2m_sde}) {
      SamplerSettings s = settings(10);
      s.noise = golden_noise;
      const Tensor found = sample(sampler, schedule, perfect_denoiser(schedule, clean), start, s);
      // linspace's last DDIM timestep is 0, and one stride before it lies the end; every list leads there.
      EXPECT_LT(relative_difference(found, clean), 1e-9) << constants.beta_schedule << " " << name(sampler);
    }
  }
}

/// All that DDIM with eta 1 keeps of pure noise is nothing, which rounding must not turn into the root of less.
TEST(Sampler, StochasticDdimFromPureNoise) {
  const Tensor clean = wave(2).to(at::kDouble), start = wave(0.5).to(at::kDouble);
  for (const ScheduleConstants& constants : {zero_snr(1), zero_snr(3)}) {
    const NoiseSchedule schedule(constants);
    for (int64_t steps = 1; steps <= 10; ++steps) {
      if (schedule.train_timesteps() % steps != 0) continue;  // else the last step keeps some noise
      SamplerSettings s = settings(steps);
      s.eta = 1;
      s.noise = golden_noise;
      const Tensor found = sample_ddim(schedule, perfect_denoiser(schedule, clean), start, s);
      EXPECT_LT(relative_difference(found, clean), 1e-9) << constants.snr_shift << " " << steps;
    }
  }
}

TEST(Sampler, InversionIsUndoneBySampling) {
  // A constant noise prediction makes DDIM exact in both directions.
  const NoiseSchedule schedule(zeroscope());
  const Tensor noise = wave(1).to(at::kDouble), clean = wave(2).to(at::kDouble);
  const SamplerDenoise constant = [&](const Tensor&, int64_t) { return DenoiserOutput{Tensor(), noise}; };
  const Tensor inverted = invert_ddim(schedule, constant, clean, settings(20));
  EXPECT_GT(relative_difference(inverted, clean), 0.1);
  EXPECT_LT(relative_difference(sample_ddim(schedule, constant, inverted, settings(20)), clean), 1e-10);
}

TEST(Sampler, GuidanceOneAsksTheModelOnceAndGuidanceTwoTwice) {
  for (const double guidance_scale : {1.0, 2.0}) {
    int conditional = 0, unconditional = 0;
    const auto count = [&](const Tensor& x, int64_t t, Condition condition) {
      (condition == Condition::conditional ? conditional : unconditional)++;
      return one_prediction(x, t, condition);
    };
    sample_ddim(NoiseSchedule(zeroscope()), one_by_one(count, guidance_scale), wave(0.5), settings(5, guidance_scale));
    EXPECT_EQ(conditional, 5);
    EXPECT_EQ(unconditional, guidance_scale == 1 ? 0 : 5);
  }
}

TEST(Sampler, ReportsEachStepAndStopsWhenTheReportThrows) {
  std::vector<int64_t> steps, timesteps;
  SamplerSettings s = settings(4);
  s.on_step = [&](const StepReport& report) {
    EXPECT_EQ(report.steps, 4);
    EXPECT_EQ(report.latents.sizes(), report.x0.sizes());
    steps.push_back(report.step);
    timesteps.push_back(report.timestep);
    if (report.step == 3) throw Interrupted("stop");
  };
  EXPECT_ERROR(sample_ddim(NoiseSchedule(zeroscope()), one_by_one(one_prediction, 1), wave(0.5), s), Interrupted,
               "stop");
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(timesteps, (std::vector<int64_t>{751, 501, 251}));
}

TEST(Sampler, ErrorsSayWhatIsMissing) {
  const NoiseSchedule schedule(zeroscope());
  const auto conditional_only = one_by_one(one_prediction, 1);
  EXPECT_ERROR(sample_ddim(schedule, conditional_only, wave(0.5), settings(5, 2)), Error,
               "no unconditional prediction at timestep 801");
  const SamplerDenoise wrong = [](const Tensor& x, int64_t) { return DenoiserOutput{Tensor(), x.narrow(4, 0, 1)}; };
  EXPECT_ERROR(sample_ddim(schedule, wrong, wave(0.5), settings(5)), Error, "[1, 2, 3, 4, 5]", "[1, 2, 3, 4, 1]");
  SamplerSettings noisy = settings(5);
  noisy.eta = 0.5;
  EXPECT_ERROR(sample_ddim(schedule, conditional_only, wave(0.5), noisy), Error, "eta 0.5 needs a source of noise");
  EXPECT_ERROR(sample_dpmpp_2m(schedule, conditional_only, wave(0.5), noisy), Error, "expected eta 0", "0.5");
  EXPECT_ERROR(sample_dpmpp_2m_sde(schedule, conditional_only, wave(0.5), noisy), Error, "expected eta 0", "0.5");
  EXPECT_ERROR(sample_dpmpp_2m_sde(schedule, conditional_only, wave(0.5), settings(5)), Error,
               "SDE needs a source of noise");
  noisy.eta = -1;
  EXPECT_ERROR(sample_ddim(schedule, conditional_only, wave(0.5), noisy), Error, "eta from 0 to 1", "-1");
  ScheduleConstants blind = zero_snr(1);
  blind.prediction_type = "epsilon";
  EXPECT_ERROR(sample_ddim(NoiseSchedule(blind), conditional_only, wave(0.5), settings(5)), Error,
               "needs v prediction");
}

TEST(Sampler, NamesRoundTrip) {
  for (const char* text : {"ddim", "dpmpp_2m", "dpmpp_2m_sde"}) EXPECT_EQ(name(parse_sampler(text)), text);
  EXPECT_ERROR(parse_sampler("euler"), Error, "ddim, dpmpp_2m or dpmpp_2m_sde", "'euler'");
}

TEST(NoisePrior, MixesByVariance) {
  const Tensor a = wave(0.1), b = wave(0.2);
  EXPECT_LT(relative_difference(noise_prior(a, b, 0.36), a * 0.6 + b * 0.8), 1e-6);
  EXPECT_TRUE(noise_prior(a, b, 0).equal(b));
  EXPECT_TRUE(noise_prior(a, b, 1).equal(a));
  EXPECT_ERROR(noise_prior(a, b, 1.5), Error, "strength from 0 to 1", "1.5");
}

}  // namespace
}  // namespace jointtuner::diffusion
