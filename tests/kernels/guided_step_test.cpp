// guided_step: by hand, by central differences, as the composition that defines it, and on a GPU.
#include "jointtuner/kernels/guided_step.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "jointtuner/base/error.h"
#include "on_gpu.h"
#include "oracles.h"
#include "src/kernels/guided_step_arguments.h"
#include "support/expect_error.h"

namespace jointtuner::kernels {
namespace {

TEST(GuidedStep, HandWorkedExample) {
  // prediction = 1 + 3 (2 - 1) = 4; x0 = 2*5 - 4 = 6, clipped to 5; next = 0.5*5 + 0.25*4 + 5 + 0.1*10 + 2*7 = 23.5
  const auto one = [](double value) { return numbers({value}, {1}); };
  const StepCoefficients c{2, -1, 5.0, 0.5, 0.25, 1, 0.1, 2};
  const StepResult result = guided_step(one(5), {one(2), one(1), 3}, c, one(10), one(7));
  EXPECT_TRUE(result.x0.equal(one(5)));
  EXPECT_TRUE(result.next.equal(one(23.5)));
}

TEST(GuidedStep, FusedEqualsReferenceAndItsGradients) {
  const StepCoefficients with_clip{1.1, -0.3, 0.9, 0.2, 0.4, 0.8, -0.1, 0.05};
  StepCoefficients without_clip = with_clip;
  without_clip.x0_clip.reset();
  for (const StepCoefficients& c : {with_clip, without_clip}) {
    for (const auto& [dtype, tolerance] : kTypes) {
      const auto term = [type = dtype](double phase) { return wave({2, 3, 700}, phase, 1, type); };
      for (const bool guided : {true, false}) {
        const GuidedPrediction p{term(0.2), guided ? std::optional<Tensor>(term(0.3)) : std::nullopt, guided ? 7.5 : 1};
        const StepResult found = guided_step(term(0.1), p, c, term(0.4), term(0.5));
        const StepResult expected = reference::guided_step(term(0.1), p, c, term(0.4), term(0.5));
        EXPECT_EQ(found.next.scalar_type(), dtype);
        EXPECT_LT(relative_difference(found.next, expected.next), tolerance);
        EXPECT_LT(relative_difference(found.x0, expected.x0), tolerance);
      }
    }
    check_gradients(
        [&](const std::vector<Tensor>& in) {
          const StepResult result = guided_step(in[0], {in[1], in[2], 7.5}, c, in[3], in[4]);
          return weighted_sum(result.next) + weighted_sum(result.x0).mul(0.5);
        },
        {wave({9}, 0.1), wave({9}, 0.2), wave({9}, 0.3), wave({9}, 0.4), wave({9}, 0.5)}, "guided_step");
  }
}

TEST(GuidedStep, ClipKeepsNotANumber) {
  StepCoefficients c;
  c.x0_from_latents = 1;
  c.x0_clip = 1;
  const Tensor x = numbers({std::numeric_limits<double>::quiet_NaN(), 3}, {2});
  const StepResult result = guided_step(x, {x, std::nullopt, 1}, c);
  EXPECT_TRUE(std::isnan(result.x0[0].item<double>()));
  EXPECT_EQ(result.x0[1].item<double>(), 1);
}

TEST(GuidedStep, ErrorsNameTheArgument) {
  const Tensor x = wave({3}, 0.1);
  StepCoefficients c;
  EXPECT_ERROR(guided_step(x, {wave({4}, 0.1), std::nullopt, 1}, c), Error, "conditional prediction like latents [3]",
               "[4]");
  EXPECT_ERROR(guided_step(x, {x, std::nullopt, 2}, c), Error, "guidance scale 2 needs an unconditional prediction");
  c.from_noise = 0.5;
  EXPECT_ERROR(guided_step(x, {x, std::nullopt, 1}, c), Error, "noise is absent", "0.5");
  c.from_noise = std::nan("");
  EXPECT_ERROR(guided_step(x, {x, std::nullopt, 1}, c, std::nullopt, x), Error, "finite coefficients");
}

TEST(GuidedStep, CoefficientsKeepTheirPlacesInTheOperatorsList) {
  const StepCoefficients c{.x0_from_latents = 1,
                           .x0_from_prediction = 2,
                           .x0_clip = 9,
                           .from_latents = 3,
                           .from_prediction = 4,
                           .from_x0 = 5,
                           .from_previous_x0 = 6,
                           .from_noise = 7};
  const auto list = coefficient_list(c);
  EXPECT_EQ(list, (std::array<double, 7>{1, 2, 3, 4, 5, 6, 7}));
  const StepCoefficients again = step_coefficients(list, c.x0_clip);
  EXPECT_EQ(coefficient_list(again), list);
  EXPECT_EQ(again.x0_clip, 9);
  EXPECT_EQ(step_coefficients(list, std::nullopt).x0_clip, std::nullopt);
  EXPECT_ERROR(step_coefficients(std::array<double, 6>{}, std::nullopt), Error, "the 7 coefficients", "found 6");
}

TEST(GuidedStep, SchemaIsTheDocumentedOne) {
  EXPECT_EQ(schema_text("guided_step"),
            "guided_step(Tensor latents, Tensor conditional, Tensor? unconditional, float guidance_scale, "
            "float[] coefficients, float? x0_clip, Tensor? previous_x0, Tensor? noise) -> (Tensor next, Tensor x0)");
}

TEST_F(OnGpu, GuidedStep) {
  for (const auto& [type, tolerance] : kTypes) {
    const StepCoefficients c{1.1, -0.4, 1.3, 0.6, -0.2, 0.5, 0.25, 0};
    const GuidedPrediction p{wave({2, 33}, 0.4, 1, type), wave({2, 33}, 0.7, 1, type), 3};
    const Tensor x = wave({2, 33}, 0.1, 1, type), before = wave({2, 33}, 1.1, 1, type);
    const auto found = guided_step(x.to(at::kCUDA), {p.conditional.to(at::kCUDA), p.unconditional->to(at::kCUDA), 3}, c,
                                   before.to(at::kCUDA), std::nullopt);
    const auto expected = guided_step(x, p, c, before, std::nullopt);
    EXPECT_LE(relative_difference(found.next.cpu(), expected.next), tolerance) << c10::toString(type);
    EXPECT_LE(relative_difference(found.x0.cpu(), expected.x0), tolerance) << c10::toString(type);
  }
}

}  // namespace
}  // namespace jointtuner::kernels
