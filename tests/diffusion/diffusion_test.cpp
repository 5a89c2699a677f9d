// Against the real diffusers schedulers: scripts/goldens/diffusion.py writes the file and states the inputs' formulas.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "jointtuner/base/error.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/diffusion/losses.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/diffusion/sampler.h"
#include "jointtuner/diffusion/timesteps.h"
#include "support/expect_error.h"

namespace jointtuner::diffusion {
namespace {

const Safetensors& goldens() {
  static const Safetensors file =
      load_safetensors(std::filesystem::path(JOINTTUNER_TEST_DATA) / "goldens/diffusion/schedulers.safetensors");
  return file;
}

const std::vector<int64_t> kShape{1, 2, 3, 4, 5};

Tensor wave(double phase, const std::vector<int64_t>& shape = kShape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  const Tensor index = at::arange(count, at::TensorOptions().dtype(at::kDouble));
  return at::sin(index * 1.7 + phase).view(shape).to(at::kFloat);
}

Tensor one_prediction(const Tensor& x, int64_t timestep, Condition condition) {
  const Tensor index = at::arange(x.numel(), at::TensorOptions().dtype(at::kDouble)).view(x.sizes());
  const double shift = condition == Condition::conditional ? 0 : 0.4;
  const double time = 0.01 * static_cast<double>(timestep);
  return (at::sin(x.to(at::kDouble)) * 0.7 + at::cos(index * 0.37 + (time + shift)) * 0.2).to(at::kFloat);
}

double relative_difference(const Tensor& found, const Tensor& expected) {
  const Tensor wanted = expected.to(at::kDouble);
  return ((found.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

ScheduleConstants zeroscope() {
  ScheduleConstants c;
  c.steps_offset = 1;
  c.final_alpha_one = false;
  return c;
}

ScheduleConstants linear() {
  ScheduleConstants c;
  c.beta_schedule = "linear";
  c.beta_start = 1e-4;
  c.beta_end = 0.02;
  c.timestep_spacing = "linspace";
  return c;
}

ScheduleConstants cosine() {
  ScheduleConstants c;
  c.beta_schedule = "squaredcos_cap_v2";
  c.prediction_type = "v_prediction";
  return c;
}

ScheduleConstants zero_snr(double snr_shift) {
  ScheduleConstants c;
  c.prediction_type = "v";
  c.rescale_zero_snr = true;
  c.snr_shift = snr_shift;
  c.timestep_spacing = "trailing";
  return c;
}

SamplerSettings settings(int64_t steps, double guidance_scale = 1) {
  SamplerSettings result;
  result.steps = steps;
  result.guidance_scale = guidance_scale;
  return result;
}

// diffusers multiplies 1000 numbers in float32: up to 1000 roundings of 6e-8, in practice their square root.
TEST(NoiseSchedule, TablesEqualDiffusers) {
  const auto difference = [](const ScheduleConstants& constants, const char* name) {
    const Tensor& expected = goldens().at(std::string("alphas/") + name);
    const Tensor found = NoiseSchedule(constants).alphas_cumprod();
    return ((found - expected).abs() / (expected + 1e-9)).max().item<double>();
  };
  EXPECT_LT(difference(zeroscope(), "zeroscope"), 1e-5);
  EXPECT_LT(difference(linear(), "linear"), 2e-5);
  EXPECT_LT(difference(zero_snr(3), "cogvideox_2b"), 1e-6);  // these two classes compute in float64
  EXPECT_LT(difference(zero_snr(1), "cogvideox_5b"), 1e-6);
  // Near 0 the rescaled and the cosine tables are differences of close numbers in float32: compare absolutely.
  for (const auto& [constants, name] : {std::pair{zero_snr(1), "zero_snr"}, std::pair{cosine(), "cosine"}}) {
    const Tensor& expected = goldens().at(std::string("alphas/") + name);
    EXPECT_LT((NoiseSchedule(constants).alphas_cumprod() - expected).abs().max().item<double>(), 5e-6) << name;
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

struct Case {
  const char* name;
  ScheduleConstants constants;
  int64_t steps;
  double guidance_scale;
};

// float32 steps with table roundings of 1e-6, amplified by guidance up to 12: 1e-4 leaves an order of magnitude.
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
Denoise perfect_denoiser(const NoiseSchedule& schedule, const Tensor& clean) {
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
    for (const Sampler sampler : {Sampler::ddim, Sampler::dpmpp_2m}) {
      const Tensor found = sample(sampler, schedule, perfect_denoiser(schedule, clean), start, settings(10));
      // linspace's last DDIM timestep is 0, and one stride before it lies the end; every list leads there.
      EXPECT_LT(relative_difference(found, clean), 1e-9) << constants.beta_schedule << " " << name(sampler);
    }
  }
}

TEST(Sampler, InversionIsUndoneBySampling) {
  // A constant noise prediction makes DDIM exact in both directions.
  const NoiseSchedule schedule(zeroscope());
  const Tensor noise = wave(1).to(at::kDouble), clean = wave(2).to(at::kDouble);
  const Denoise constant = [&](const Tensor&, int64_t) { return DenoiserOutput{Tensor(), noise}; };
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
  const Denoise wrong = [](const Tensor& x, int64_t) { return DenoiserOutput{Tensor(), x.narrow(4, 0, 1)}; };
  EXPECT_ERROR(sample_ddim(schedule, wrong, wave(0.5), settings(5)), Error, "[1, 2, 3, 4, 5]", "[1, 2, 3, 4, 1]");
  SamplerSettings noisy = settings(5);
  noisy.eta = 0.5;
  EXPECT_ERROR(sample_ddim(schedule, conditional_only, wave(0.5), noisy), Error, "eta 0.5 needs a source of noise");
  EXPECT_ERROR(sample_dpmpp_2m(schedule, conditional_only, wave(0.5), noisy), Error, "expected eta 0", "0.5");
  ScheduleConstants blind = zero_snr(1);
  blind.prediction_type = "epsilon";
  EXPECT_ERROR(sample_ddim(NoiseSchedule(blind), conditional_only, wave(0.5), settings(5)), Error,
               "needs v prediction");
  EXPECT_ERROR(parse_sampler("euler"), Error, "ddim or dpmpp_2m", "'euler'");
}

TEST(NoisePrior, MixesByVariance) {
  const Tensor a = wave(0.1), b = wave(0.2);
  EXPECT_LT(relative_difference(noise_prior(a, b, 0.36), a * 0.6 + b * 0.8), 1e-6);
  EXPECT_TRUE(noise_prior(a, b, 0).equal(b));
  EXPECT_TRUE(noise_prior(a, b, 1).equal(a));
  EXPECT_ERROR(noise_prior(a, b, 1.5), Error, "strength from 0 to 1", "1.5");
}

TEST(PredictionType, TargetsEqualDiffusers) {
  const std::vector<int64_t> shape{4, 2, 3, 2, 2};
  const Tensor timestep = at::tensor({0, 17, 500, 999}, at::kLong), table = NoiseSchedule(zeroscope()).alphas_cumprod();
  const Tensor clean = wave(0.1, shape), noise = wave(0.2, shape);
  for (const PredictionType type : {PredictionType::epsilon, PredictionType::v}) {
    const NoisyExample example = noisy_example(type, clean, noise, timestep, table);
    EXPECT_LT(relative_difference(example.latents, goldens().at("ddpm/noisy")), 1e-6);
    if (type == PredictionType::epsilon) {
      EXPECT_TRUE(example.target.equal(noise));
    } else {
      EXPECT_LT(relative_difference(example.target, goldens().at("ddpm/velocity")), 1e-6);
    }
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

// The published CogVideoX loss converts prediction + s to x0 and weights with 1 / (1 - a): the same number (method.md,
// section 3).
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
