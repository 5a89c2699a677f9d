#include "jointtuner/kernels/gate_meter.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "glora_layer.h"

namespace jointtuner::kernels {
namespace {

TEST(GateMeter, SeesTheGatesOfItsLifetime) {
  Layer layer({2, 3, 5}, 4, 3);
  layer.groups = 2;
  layer.gate->zero_();  // sigmoid(0) = 1/2
  Layer open = layer, plain = layer;
  open.gate = at::zeros({1, 5}, at::kDouble);
  open.gate->select(1, 0).fill_(1);
  open.x = at::zeros({2, 3, 5}, at::kDouble);
  open.x.select(2, 0).fill_(std::log(3.0));  // sigmoid(ln 3) = 3/4
  plain.gate.reset();
  const GateMeter outer;
  {
    const GateMeter meter;
    EXPECT_FALSE(meter.mean().defined());
    plain.fused();
    EXPECT_FALSE(meter.mean().defined());
    layer.fused();
    open.fused();
    EXPECT_NEAR(meter.mean().item().toDouble(), 0.625, 1e-15);
  }
  layer.fused();
  EXPECT_NEAR(outer.mean().item().toDouble(), 0.5, 1e-15);
}

}  // namespace
}  // namespace jointtuner::kernels
