// gated_update, shifted_mse, guided_step and add_noise: the operators that read and write each element once.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "jointtuner/base/error.h"
#include "jointtuner/kernels/gated_update.h"
#include "jointtuner/kernels/reference.h"
#include "oracles.h"
#include "support/expect_error.h"

namespace jointtuner::kernels {
namespace {

Tensor numbers(std::initializer_list<double> values, at::IntArrayRef shape) {
  return at::tensor(at::ArrayRef<double>(values.begin(), values.size()), at::kDouble).view(shape);
}

const std::vector<std::pair<at::ScalarType, double>> kTypes{// tolerance: the last rounding to that type
                                                            {at::kDouble, 1e-14},
                                                            {at::kFloat, 1e-6},
                                                            {at::kHalf, 1e-3},
                                                            {at::kBFloat16, 8e-3}};

TEST(GatedUpdate, HandWorkedExample) {
  Tensor y = numbers({1, 2, 3, 4}, {2, 2});
  const Tensor update = numbers({10, 20, 30, 40}, {2, 2});
  gated_update(y, update, numbers({0.5, 0.25}, {2}), 2, {});
  EXPECT_TRUE(y.equal(numbers({11, 22, 18, 24}, {2, 2})));
}

TEST(GatedUpdate, FusedEqualsReference) {
  for (const auto& [dtype, tolerance] : kTypes) {
    for (const double dropout : {0.0, 0.3}) {
      for (const bool gated : {true, false}) {
        Tensor y = wave({6, 11, 301}, 0.1, 1, dtype);
        const Tensor update = wave({6, 11, 301}, 0.2, 1, dtype);
        const auto gate_type = dtype == at::kDouble ? at::kDouble : at::kFloat;
        const auto gate = gated ? std::optional<Tensor>(wave({3}, 0.5, 1, gate_type)) : std::nullopt;
        const DropoutMask mask{dropout, 77, 2};
        const Tensor expected = reference::gated_update(y, update, gate, 0.7, mask);
        gated_update(y, update, gate, 0.7, mask);
        EXPECT_LT(relative_difference(y, expected), tolerance) << c10::toString(dtype) << dropout << gated;
      }
    }
  }
}

TEST(GatedUpdate, GradientsAreCentralDifferences) {
  for (const double dropout : {0.0, 0.3}) {
    for (const bool gated : {true, false}) {
      std::vector<Tensor> values{wave({4, 3}, 0.1), wave({4, 3}, 0.2)};
      if (gated) values.push_back(wave({2}, 0.4));
      check_gradients(
          [&](const std::vector<Tensor>& inputs) {
            Tensor y = inputs[0] * 1;  // a leaf that asks for gradients may not be changed in place
            const auto gate = gated ? std::optional<Tensor>(inputs[2]) : std::nullopt;
            gated_update(y, inputs[1], gate, 0.7, {dropout, 5, 1});
            return weighted_sum(y);
          },
          values, fmt::format("dropout {} gated {}", dropout, gated));
    }
  }
}

TEST(GatedUpdate, ChangesInPlaceAreSeenByAutograd) {
  Tensor y = wave({2, 2}, 0.1);
  const auto version = y._version();
  gated_update(y, wave({2, 2}, 0.2), std::nullopt, 1, {});
  EXPECT_GT(y._version(), version);
}

TEST(GatedUpdate, ErrorsNameTheArgument) {
  Tensor y = wave({4, 3}, 0.1);
  EXPECT_ERROR(gated_update(y, wave({4, 2}, 0.1), std::nullopt, 1, {}), Error, "[4, 3]", "[4, 2]");
  EXPECT_ERROR(gated_update(y, wave({4, 3}, 0.1), wave({3}, 0.1), 1, {}), Error, "groups dividing 4 rows", "[3]");
  EXPECT_ERROR(gated_update(y, wave({4, 3}, 0.1), wave({2}, 0.1, 1, at::kFloat), 1, {}), Error,
               "expected gate in Double");
  Tensor turned = y.t();
  EXPECT_ERROR(gated_update(turned, wave({3, 4}, 0.1), std::nullopt, 1, {}), Error, "contiguous y");
}

TEST(ShiftedMse, HandWorkedExample) {
  // Two items of two pixels. Residuals: 1, -2 and 3, 0; with shifts (1, 1) and (-1, 2) at strength 2: 3, 0 and 1, 4.
  const Tensor prediction = numbers({1, 0, 5, 7}, {2, 1, 1, 1, 2}), target = numbers({0, 2, 2, 7}, {2, 1, 1, 1, 2});
  EXPECT_TRUE(shifted_mse(prediction, target, std::nullopt, 1).equal(numbers({(1 + 4 + 9) / 4.0}, {})));
  const Tensor shift = numbers({1, 1, -1, 2}, {2, 1, 1, 1, 2});
  EXPECT_TRUE(shifted_mse(prediction, target, shift, 2).equal(numbers({(9 + 0 + 1 + 16) / 4.0}, {})));
  EXPECT_TRUE(shifted_mse(prediction, target, shift, 2, LossReduction::per_item).equal(numbers({4.5, 8.5}, {2})));
}

TEST(ShiftedMse, FusedEqualsReferenceWithItsGradient) {
  for (const auto& [dtype, tolerance] : kTypes) {
    for (const auto reduction : {LossReduction::mean, LossReduction::per_item}) {
      const Tensor value = wave({3, 4, 5, 6, 7}, 0.1, 1, dtype), target = wave({3, 4, 5, 6, 7}, 0.9, 1, dtype);
      const Tensor shift = wave({3, 1, 1, 6, 7}, 0.5, 1, at::kFloat);
      const Tensor one = leaf(value), two = leaf(value);
      const Tensor found = shifted_mse(one, target, shift, 0.6, reduction);
      const Tensor expected = reference::shifted_mse(two, target, shift, 0.6, reduction);
      EXPECT_EQ(found.scalar_type(), dtype == at::kDouble ? at::kDouble : at::kFloat);
      EXPECT_LT(relative_difference(found, expected), 1e-6);
      EXPECT_LT(
          relative_difference(gradients(weighted_sum(found), {one})[0], gradients(weighted_sum(expected), {two})[0]),
          tolerance);
    }
  }
}

TEST(ShiftedMse, GradientIsCentralDifferences) {
  for (const bool shifted : {true, false}) {
    for (const auto reduction : {LossReduction::mean, LossReduction::per_item}) {
      const auto shift = shifted ? std::optional<Tensor>(wave({2, 1, 1, 2, 3}, 0.5)) : std::nullopt;
      check_gradients(
          [&](const std::vector<Tensor>& inputs) {
            return weighted_sum(shifted_mse(inputs[0], wave({2, 2, 2, 2, 3}, 0.9), shift, 0.6, reduction));
          },
          {wave({2, 2, 2, 2, 3}, 0.1)},
          fmt::format("shifted {} per item {}", shifted, reduction == LossReduction::per_item));
    }
  }
}

TEST(ShiftedMse, ZeroStrengthIsThePlainLossExactly) {
  const Tensor prediction = wave({2, 4, 3, 5, 5}, 0.1, 1, at::kFloat),
               target = wave({2, 4, 3, 5, 5}, 0.2, 1, at::kFloat);
  const Tensor shift = wave({2, 1, 1, 5, 5}, 0.3, 1, at::kFloat);
  EXPECT_TRUE(shifted_mse(prediction, target, shift, 0).equal(shifted_mse(prediction, target, std::nullopt, 1)));
}

/// The gradient is 2 r / count, here near 1e-8: below half's smallest number unless the loss scaler's factor is inside
/// the rounding.
TEST(ShiftedMse, ScaledHalfGradientDoesNotUnderflow) {
  const Tensor prediction = leaf(at::zeros({1, 4, 16, 24, 24}, at::kHalf)), target = prediction.detach() + 0.001;
  const Tensor loss = shifted_mse(prediction, target, std::nullopt, 0) * 65536;
  EXPECT_GT(largest(gradients(loss, {prediction})[0]), 1e-3);
}

TEST(ShiftedMse, ErrorsNameTheArgument) {
  const Tensor five = wave({2, 1, 1, 2, 2}, 0.1);
  EXPECT_ERROR(shifted_mse(five, five.narrow(0, 0, 1), std::nullopt, 1), Error, "[2, 1, 1, 2, 2]", "[1, 1, 1, 2, 2]");
  EXPECT_ERROR(shifted_mse(five, five, five.narrow(0, 0, 1), 1), Error, "prediction shift", "[2, 1, 1, 2, 2]");
  EXPECT_ERROR(shifted_mse(five, leaf(five), std::nullopt, 1), Error, "differentiable in prediction only");
}

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

TEST(AddNoise, HandWorkedExample) {
  // a = 0.64 and 0.36: sqrt(a) = 0.8, 0.6; sqrt(1 - a) = 0.6, 0.8.
  const Tensor table = numbers({0.64, 0.36}, {2}), timestep = at::tensor({1, 0}, at::kLong);
  const Tensor x0 = numbers({10, 20}, {2, 1}), noise = numbers({1, 2}, {2, 1});
  EXPECT_LT(largest(add_noise(x0, noise, timestep, table) - numbers({6.8, 17.2}, {2, 1})), 1e-14);
  const NoisyAndVelocity both = add_noise_with_velocity(x0, noise, timestep, table);
  EXPECT_LT(largest(both.velocity - numbers({0.6 - 8, 1.6 - 12}, {2, 1})), 1e-14);
}

TEST(AddNoise, FusedEqualsReferenceAndItsGradients) {
  const Tensor table = wave({50}, 0.3, 0.4).add(0.5).to(at::kFloat), timestep = at::tensor({0, 49, 17}, at::kLong);
  for (const auto& [dtype, tolerance] : kTypes) {
    const Tensor x0 = wave({3, 4, 5, 6}, 0.1, 1, dtype), noise = wave({3, 4, 5, 6}, 0.2, 1, dtype);
    const NoisyAndVelocity found = add_noise_with_velocity(x0, noise, timestep, table);
    const NoisyAndVelocity expected = reference::add_noise_with_velocity(x0, noise, timestep, table);
    EXPECT_LT(relative_difference(found.noisy, expected.noisy), tolerance);
    EXPECT_LT(relative_difference(found.velocity, expected.velocity), tolerance);
    EXPECT_TRUE(add_noise(x0, noise, timestep, table).equal(found.noisy));
  }
  check_gradients(
      [&](const std::vector<Tensor>& in) {
        const NoisyAndVelocity result = add_noise_with_velocity(in[0], in[1], timestep, table);
        return weighted_sum(result.noisy) + weighted_sum(result.velocity).mul(0.5) +
               weighted_sum(add_noise(in[0], in[1], timestep, table));
      },
      {wave({3, 2}, 0.1), wave({3, 2}, 0.2)}, "add_noise");
}

TEST(AddNoise, ErrorsNameTheArgument) {
  const Tensor table = wave({50}, 0.3).abs(), x = wave({2, 3}, 0.1);
  EXPECT_ERROR(add_noise(x, x, at::tensor({0, 50}, at::kLong), table), Error, "timestep 50 of item 1", "0 .. 49");
  EXPECT_ERROR(add_noise(x, x, at::tensor({0, -1}, at::kLong), table), Error, "timestep -1 of item 1");
  EXPECT_ERROR(add_noise(x, x, at::tensor({0}, at::kLong), table), Error, "timestep", "[2]", "[1]");
  EXPECT_ERROR(add_noise(x, x.to(at::kFloat), at::tensor({0, 1}, at::kLong), table), Error, "one floating dtype");
}

TEST(Schemas, AreTheDocumentedOnes) {
  const std::vector<std::pair<std::string, std::string>> schemas{
      {"gated_update",
       "(Tensor(a!) y, Tensor update, Tensor? gate, float scale, float dropout, int dropout_seed, int site) -> "
       "Tensor(a!)"},
      {"shifted_mse",
       "(Tensor prediction, Tensor target, Tensor? shift, float strength, bool per_item=False) -> Tensor"},
      {"guided_step",
       "(Tensor latents, Tensor conditional, Tensor? unconditional, float guidance_scale, float x0_from_latents, float "
       "x0_from_prediction, float? x0_clip, float from_latents, float from_prediction, float from_x0, Tensor? "
       "previous_x0, float "
       "from_previous_x0, Tensor? noise, float from_noise) -> (Tensor next, Tensor x0)"},
      {"add_noise", "(Tensor latents, Tensor noise, Tensor timestep, Tensor alphas_cumprod) -> Tensor"},
      {"add_noise_with_velocity",
       "(Tensor latents, Tensor noise, Tensor timestep, Tensor alphas_cumprod) -> (Tensor noisy, Tensor velocity)"}};
  for (const auto& [name, arguments] : schemas) {
    const auto op = c10::Dispatcher::singleton().findSchema({"jointtuner::" + name, ""});
    ASSERT_TRUE(op.has_value()) << name;
    EXPECT_EQ(c10::toString(op->schema()), "jointtuner::" + name + arguments);
  }
}

}  // namespace
}  // namespace jointtuner::kernels
