// The bindings of the CUDA kernels on a card, against the CPU's operators. Skipped where there is none: there the
// kernels themselves are tested by tests/kernels_cuda.
#include <fmt/format.h>

#include "jointtuner/base/device.h"
#include "jointtuner/kernels/gated_update.h"
#include "jointtuner/kernels/reference.h"
#include "oracles.h"

namespace jointtuner::kernels {
namespace {

class OnGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (parse_device("auto").is_cpu()) GTEST_SKIP() << "no CUDA device is usable here";
  }
};

const std::vector<std::pair<at::ScalarType, double>> kTypes{
    {at::kDouble, 1e-14}, {at::kFloat, 1e-6}, {at::kHalf, 1e-3}, {at::kBFloat16, 8e-3}};

std::optional<Tensor> on_gpu(const std::optional<Tensor>& tensor) {
  return tensor ? std::optional<Tensor>(tensor->to(at::kCUDA)) : std::nullopt;
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

TEST_F(OnGpu, GatedUpdateWithItsGradients) {
  for (const auto& [type, tolerance] : kTypes) {
    const auto gate_type = type == at::kDouble ? at::kDouble : at::kFloat;
    const DropoutMask mask{0.3, 0x7123456789abcdef, 5};
    const auto run = [&, of = type](const c10::Device& device) {
      const std::vector<Tensor> inputs{leaf(wave({6, 35}, 0.1, 1, of).to(device)),
                                       leaf(wave({6, 35}, 0.5, 1, of).to(device)),
                                       leaf(wave({3}, 0.9, 1, gate_type).to(device))};
      Tensor y = inputs[0] * 1;
      gated_update(y, inputs[1], inputs[2], 0.7, mask);
      std::vector<Tensor> results = gradients(y.square().sum(), inputs);
      results.push_back(y.detach());
      return results;
    };
    const auto found = run(c10::Device(c10::kCUDA, 0)), expected = run(c10::Device(c10::kCPU));
    for (size_t k = 0; k < found.size(); ++k)
      EXPECT_LE(gradient_difference({found[k].cpu()}, {expected[k]}, 0), 10 * tolerance) << c10::toString(type) << k;
  }
}

TEST_F(OnGpu, GuidedStep) {
  for (const auto& [type, tolerance] : kTypes) {
    const StepCoefficients c{1.1, -0.4, 1.3, 0.6, -0.2, 0.5, 0.25, 0};
    const GuidedPrediction p{wave({2, 33}, 0.4, 1, type), wave({2, 33}, 0.7, 1, type), 3};
    const Tensor x = wave({2, 33}, 0.1, 1, type), before = wave({2, 33}, 1.1, 1, type);
    const auto found = guided_step(x.to(at::kCUDA), {p.conditional.to(at::kCUDA), on_gpu(p.unconditional), 3}, c,
                                   before.to(at::kCUDA), std::nullopt);
    const auto expected = guided_step(x, p, c, before, std::nullopt);
    EXPECT_LE(relative_difference(found.next.cpu(), expected.next), tolerance) << c10::toString(type);
    EXPECT_LE(relative_difference(found.x0.cpu(), expected.x0), tolerance) << c10::toString(type);
  }
}

TEST_F(OnGpu, ShiftedMseWithItsGradient) {
  for (const auto& [type, tolerance] : kTypes) {
    for (const auto reduction : {LossReduction::mean, LossReduction::per_item}) {
      const Tensor value = wave({2, 3, 2, 5, 9}, 0.1, 1, type), target = wave({2, 3, 2, 5, 9}, 0.9, 1, type);
      const Tensor shift = wave({2, 1, 1, 5, 9}, 0.5, 1, at::kFloat);
      const Tensor card = leaf(value.to(at::kCUDA)), cpu = leaf(value);
      const Tensor found = shifted_mse(card, target.to(at::kCUDA), shift.to(at::kCUDA), 0.6, reduction);
      const Tensor expected = shifted_mse(cpu, target, shift, 0.6, reduction);
      EXPECT_LE(relative_difference(found.cpu(), expected), 1e-6) << c10::toString(type);
      EXPECT_LE(relative_difference(gradients(found.sum(), {card})[0].cpu(), gradients(expected.sum(), {cpu})[0]),
                tolerance)
          << c10::toString(type);
    }
  }
}

}  // namespace
}  // namespace jointtuner::kernels
