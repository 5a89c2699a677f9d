// add_noise: by hand, by central differences, as the composition that defines it, and on a GPU.
#include "jointtuner/kernels/add_noise.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "jointtuner/base/error.h"
#include "on_gpu.h"
#include "oracles.h"
#include "support/expect_error.h"

namespace jointtuner::kernels {
namespace {

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

TEST(AddNoise, SchemaIsTheDocumentedOne) {
  EXPECT_EQ(schema_text("add_noise"),
            "add_noise(Tensor latents, Tensor noise, Tensor timestep, Tensor alphas_cumprod) -> Tensor");
  EXPECT_EQ(schema_text("add_noise_with_velocity"),
            "add_noise_with_velocity(Tensor latents, Tensor noise, Tensor timestep, Tensor alphas_cumprod) "
            "-> (Tensor noisy, Tensor velocity)");
}

TEST_F(OnGpu, AddNoise) {
  for (const auto& [type, tolerance] : kTypes) {
    const Tensor x = wave({3, 4, 5, 7}, 0.1, 1, type), e = wave({3, 4, 5, 7}, 0.8, 1, type);
    const Tensor t = at::arange(3, at::kLong), table = at::arange(4, at::kDouble).mul(-0.2).add(0.9);
    const auto found = add_noise_with_velocity(x.to(at::kCUDA), e.to(at::kCUDA), t.to(at::kCUDA), table.to(at::kCUDA));
    const auto expected = add_noise_with_velocity(x, e, t, table);
    EXPECT_LE(relative_difference(found.noisy.cpu(), expected.noisy), tolerance) << c10::toString(type);
    EXPECT_LE(relative_difference(found.velocity.cpu(), expected.velocity), tolerance) << c10::toString(type);
    EXPECT_TRUE(found.noisy.equal(add_noise(x.to(at::kCUDA), e.to(at::kCUDA), t.to(at::kCUDA), table.to(at::kCUDA))));
  }
}

}  // namespace
}  // namespace jointtuner::kernels
