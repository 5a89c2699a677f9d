#include "jointtuner/train/gate_meter.h"

#include <ATen/ops/sigmoid.h>
#include <gtest/gtest.h>

#include "fake_run.h"
#include "support/expect_error.h"

namespace jointtuner::train {

TEST(GateMeter, IsTheMeanOfWhatTheOperatorComputed) {
  const Tensor x = formula({2, 3, 4}, 1), weight = formula({4, 4}, 2), down = formula({2, 4}, 3),
               up = formula({4, 2}, 4);
  const Tensor gate = formula({1, 4}, 5) * 8;
  const auto call = [&](const std::optional<Tensor>& lora_gate, int64_t groups) {
    return kernels::glora_linear(x, weight, std::nullopt, down, up, lora_gate, 1.0, groups, 0.0, 0, 0);
  };
  call(gate, 2);  // before: not seen
  GateMeter meter;
  EXPECT_FALSE(meter.mean());
  call(std::nullopt, 2);
  EXPECT_FALSE(meter.mean());
  call(gate, 2);
  const double expected = at::sigmoid(x.matmul(gate.t())).mean().item().toDouble();
  ASSERT_TRUE(meter.mean());
  EXPECT_NEAR(*meter.mean(), expected, 1e-6);
  call(gate * 0, 2);  // sigmoid(0): the mean goes half of the way to 0.5
  EXPECT_NEAR(*meter.mean(), (expected + 0.5) / 2, 1e-6);
}

TEST(GateMeter, SeesAForwardPassUnderAutograd) {
  adapter::AdapterSet adapters = fake_adapters();
  adapters.set_requires_grad(true);
  const GateMeter meter;
  fake_denoiser(adapters)(formula({2, 4, 1, 3, 5}, 1), at::arange(2), formula({2, 3, 2}, 2), 0);
  EXPECT_TRUE(meter.mean());
}

TEST(GateMeter, OneAtATime) {
  const GateMeter meter;
  EXPECT_ERROR(GateMeter(), Error, "another one is active");
}

}  // namespace jointtuner::train
