// The compositions that define the project's operators run on any device, and wait for nothing: they are what a GPU
// without the fused kernels runs.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <functional>

#include "jointtuner/base/generator.h"
#include "jointtuner/kernels/add_noise.h"
#include "jointtuner/kernels/glora_linear.h"
#include "jointtuner/kernels/guided_step.h"
#include "jointtuner/kernels/shifted_mse.h"
#include "support/stand_in_device.h"

namespace jointtuner::kernels {
namespace {

Tensor draw(at::IntArrayRef shape, const std::string& name) { return normal_draw(shape, generator(1, 0, name)); }

using Run = std::function<std::vector<Tensor>(at::Device)>;

void expect_the_cpus(const Run& run) {
  const std::vector<Tensor> expected = run(at::kCPU);
  const std::vector<Tensor> found = run(testing::stand_in());
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].device(), testing::stand_in());
    EXPECT_TRUE(at::equal(found[i].cpu(), expected[i])) << i;
  }
}

TEST(Compositions, GloraLinearWithItsGradients) {
  for (const double dropout : {0.0, 0.3})
    expect_the_cpus([&](at::Device device) {
      std::vector<Tensor> leaves = {draw({2, 3, 8}, "x"), draw({4, 8}, "down"), draw({5, 4}, "up"),
                                    draw({1, 8}, "gate")};
      for (Tensor& leaf : leaves) leaf = leaf.to(device).requires_grad_(true);
      const FrozenLinear frozen{draw({5, 8}, "weight").to(device), draw({5}, "bias").to(device)};
      testing::taken_traffic();
      const Tensor y = reference::glora_linear(leaves[0], frozen, {leaves[1], leaves[2], leaves[3]},
                                               {.scale = 0.7, .groups = 2, .dropout = {dropout, 1234567, 3}});
      y.square().sum().backward();
      EXPECT_TRUE(testing::taken_traffic().waits.empty());
      std::vector<Tensor> results = {y.detach()};
      for (const Tensor& leaf : leaves) results.push_back(leaf.grad());
      return results;
    });
}

TEST(Compositions, DropoutMasks) {
  expect_the_cpus([](at::Device device) {
    return std::vector<Tensor>{
        reference::dropout_factors(at::empty({5, 13}, at::TensorOptions(device)), {0.25, 99, 7})};
  });
}

TEST(Compositions, AddNoiseShiftedMseAndGuidedStep) {
  expect_the_cpus([](at::Device device) {
    const Tensor a = draw({2, 4, 3, 2, 2}, "a").to(device), b = draw({2, 4, 3, 2, 2}, "b").to(device);
    const Tensor shift = draw({2, 1, 1, 2, 2}, "shift").to(device);
    const Tensor timestep = at::tensor({3, 7}, at::kLong).to(device);
    const Tensor alphas = at::linspace(0.99, 0.1, 10, at::kDouble).to(device);
    testing::taken_traffic();
    StepCoefficients c;
    c.x0_from_latents = 1.1, c.x0_from_prediction = -0.4, c.x0_clip = 1, c.from_latents = 0.3;
    c.from_prediction = 0.2, c.from_x0 = 0.5;
    const StepResult step = reference::guided_step(a, {a, b, 3.0}, c, std::nullopt, std::nullopt);
    const NoisyAndVelocity pair = reference::add_noise_with_velocity(a, b, timestep, alphas);
    const std::vector<Tensor> results = {step.next, step.x0, pair.noisy, pair.velocity,
                                         reference::shifted_mse(a, b, shift, 0.5, LossReduction::per_item)};
    EXPECT_TRUE(testing::taken_traffic().waits.empty());
    return results;
  });
}

}  // namespace
}  // namespace jointtuner::kernels
