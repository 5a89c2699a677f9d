#include "jointtuner/adapter/adapter_set.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

#include "jointtuner/adapter/gate_pooling.h"
#include "jointtuner/base/safetensors.h"
#include "list_tensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::adapter {
namespace {

/// sum over the sites of sum(x D^T U^T) * sum(G) with x = ones [1,K]; uses every adapter tensor.
Tensor toy_loss(const AdapterSet& adapters) {
  Tensor loss = at::zeros({});
  for (size_t i = 0; i < adapters.size(); ++i) {
    const SiteAdapter& one = adapters.at(i);
    const Tensor x = at::ones({1, adapters.sites()[i].in_features});
    const Tensor update = x.matmul(one.down.t()).matmul(one.up.t()).sum();
    loss = loss.add(one.gate.defined() ? update.mul(one.gate.sum()) : update);
  }
  return loss;
}

TEST(AdapterSet, LaysAllSitesOutInOneBuffer) {
  const AdapterSet adapters(list_sites(), 3, true, at::kCPU);
  EXPECT_EQ(adapters.parameters(), 3 * (6 + 8) + 6 + 3 * (4 + 10) + 4);
  EXPECT_EQ(adapters.flat().scalar_type(), at::kFloat);
  EXPECT_EQ(adapters.flat().abs().sum().item<float>(), 0.0F);
  adapters.flat().copy_(at::arange(adapters.parameters()));
  const SiteAdapter& second = adapters.at(1);
  EXPECT_EQ(second.down.sizes(), at::IntArrayRef({3, 4}));
  EXPECT_EQ(second.up.sizes(), at::IntArrayRef({10, 3}));
  EXPECT_EQ(second.gate.sizes(), at::IntArrayRef({1, 4}));
  EXPECT_EQ(adapters.at(0).down[1][0].item<float>(), 6.0F);
  EXPECT_EQ(adapters.at(0).gate[0][0].item<float>(), 18.0F);  // directly after D
  EXPECT_EQ(adapters.at(0).up[0][0].item<float>(), 24.0F);
  EXPECT_EQ(second.down[0][0].item<float>(), 48.0F);
  EXPECT_EQ(second.up[9][2].item<float>(), static_cast<float>(adapters.parameters() - 1));
}

TEST(AdapterSet, WithoutGatesIsPlainLora) {
  const AdapterSet adapters(list_sites(), 2, false, at::kCPU);
  EXPECT_FALSE(adapters.gated());
  EXPECT_FALSE(adapters.at(0).gate.defined());
  EXPECT_EQ(adapters.parameters(), 2 * (6 + 8) + 2 * (4 + 10));
}

TEST(AdapterSet, InitialValuesEqualPythonDrawsByName) {
  const Safetensors golden = load_safetensors(testing::golden("adapter/initialize.safetensors"));
  for (const std::string gate_init : {"normal", "uniform"}) {
    AdapterSet adapters(list_sites(), kListRank, true, at::kCPU);
    adapters.flat().fill_(5);
    adapters.initialize(1234, gate_init);
    for (size_t i = 0; i < adapters.size(); ++i) {
      const std::string key = gate_init + "/" + adapters.sites()[i].path;
      EXPECT_TRUE(same(adapters.at(i).down, golden.at(key + ".lora_down"))) << key;
      EXPECT_TRUE(same(adapters.at(i).gate, golden.at(key + ".lora_gate"))) << key;
      EXPECT_EQ(adapters.at(i).up.abs().sum().item<float>(), 0.0F);
    }
  }
}

TEST(AdapterSet, InitialValuesHaveTheStatedSpread) {
  AdapterSet adapters({{"wide", "spatial", 4096, 64}}, 16, true, at::kCPU);
  adapters.initialize(0, "uniform");
  const Tensor down = adapters.at(0).down.mul(16);
  EXPECT_NEAR(down.mean().item<double>(), 0, 0.02);  // 65,536 draws: five standard errors
  EXPECT_NEAR(down.std().item<double>(), 1, 0.02);
  EXPECT_LE(adapters.at(0).gate.abs().max().item<double>(), 1.0 / 64);
  EXPECT_GT(adapters.at(0).gate.abs().max().item<double>(), 0.99 / 64);
}

TEST(AdapterSet, ValuesOfASiteDoNotDependOnTheOtherSites) {
  AdapterSet both(list_sites(), 3, true, at::kCPU);
  AdapterSet second({list_sites()[1]}, 3, false, at::kCPU);
  both.initialize(9, "normal");
  second.initialize(9, "normal");
  EXPECT_TRUE(same(both.at(1).down, second.at(0).down));
}

TEST(AdapterSet, BackwardAddsIntoTheFlatGradient) {
  AdapterSet adapters = list_adapters();
  adapters.set_requires_grad(true);
  EXPECT_TRUE(adapters.at(0).up.is_leaf());
  EXPECT_TRUE(adapters.at(0).up.requires_grad());
  EXPECT_FALSE(adapters.flat().requires_grad());
  const void* place = adapters.flat_gradient().const_data_ptr();
  toy_loss(adapters).backward();
  const Tensor once = adapters.flat_gradient().clone();
  EXPECT_EQ(adapters.flat_gradient().const_data_ptr(), place);
  EXPECT_EQ(adapters.at(0).down.grad().const_data_ptr(), place);
  EXPECT_GT(once.abs().sum().item<float>(), 0.0F);

  const SiteAdapter& last = adapters.at(1);  // by hand: d/dU[m,r] = sum(G) * sum_k D[r,k]
  const Tensor by_hand = last.down.sum(1).mul(last.gate.sum()).expand({10, 3});
  EXPECT_TRUE(at::equal(once.narrow(0, adapters.parameters() - 30, 30).view({10, 3}), by_hand.detach()));

  toy_loss(adapters).backward();
  EXPECT_TRUE(at::equal(adapters.flat_gradient(), once.mul(2)));
  adapters.zero_gradient();
  EXPECT_EQ(adapters.flat_gradient().abs().sum().item<float>(), 0.0F);
  toy_loss(adapters).backward();
  EXPECT_TRUE(at::equal(adapters.flat_gradient(), once));
}

TEST(AdapterSet, OneOperationOnTheFlatBufferMovesEveryAdapter) {
  AdapterSet adapters = list_adapters();
  adapters.set_requires_grad(true);
  const double before = toy_loss(adapters).item<double>();
  for (int step = 0; step < 3; ++step) {
    adapters.zero_gradient();
    toy_loss(adapters).backward();
    adapters.flat().add_(adapters.flat_gradient(), -1e-3);
  }
  EXPECT_LT(toy_loss(adapters).item<double>(), before);
  EXPECT_TRUE(adapters.at(0).down.is_leaf());
}

TEST(AdapterSet, AChangeBetweenForwardAndBackwardIsNoticed) {
  AdapterSet adapters = list_adapters();
  adapters.set_requires_grad(true);
  const Tensor loss = toy_loss(adapters);
  adapters.flat().add_(1);
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST(AdapterSet, GradientsCanBeSwitchedOff) {
  AdapterSet adapters = list_adapters();
  EXPECT_FALSE(adapters.requires_grad());
  EXPECT_ERROR((void)adapters.flat_gradient(), Error, "call set_requires_grad(true) first");
  adapters.set_requires_grad(true);
  EXPECT_TRUE(adapters.requires_grad());
  adapters.set_requires_grad(false);
  EXPECT_FALSE(adapters.at(1).gate.requires_grad());
  EXPECT_FALSE(adapters.at(1).gate.grad().defined());
  EXPECT_FALSE(toy_loss(adapters).requires_grad());
  adapters.initialize(1, "normal");
  adapters.set_requires_grad(true);
  adapters.initialize(2, "normal");  // also while gradients are on
}

TEST(AdapterSet, KeepsItsBuffersWhenMoved) {
  AdapterSet first = list_adapters();
  first.set_requires_grad(true);
  const AdapterSet second = std::move(first);
  toy_loss(second).backward();
  EXPECT_GT(second.flat_gradient().abs().sum().item<float>(), 0.0F);
  EXPECT_TRUE(same(second.at(0).up, list_tensors()[0]));
}

TEST(AdapterSet, CloneAndAssignCopyValues) {
  const AdapterSet original = list_adapters();
  const AdapterSet copy = original.clone(at::kCPU);
  EXPECT_TRUE(at::equal(copy.flat(), original.flat()));
  EXPECT_NE(copy.flat().const_data_ptr(), original.flat().const_data_ptr());
  AdapterSet other(list_sites(), kListRank, true, at::kCPU);
  other.assign(original.flat());
  EXPECT_TRUE(same(other.at(1).gate, original.at(1).gate));
  EXPECT_ERROR(other.assign(at::zeros({3})), Error, "adapter values", "expected shape [94]", "found [3]");
}

TEST(AdapterSet, NamesTheFirstTensorThatIsNotFinite) {
  AdapterSet adapters = list_adapters();
  EXPECT_EQ(adapters.first_non_finite(), "");
  adapters.at(1).gate[0][2].fill_(std::numeric_limits<float>::infinity());
  EXPECT_EQ(adapters.first_non_finite(), "mid_block.ff.net.2.lora_gate");
  adapters.at(0).up[7][1].fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(adapters.first_non_finite(), "down_blocks.0.attn1.to_q.lora_up");
  AdapterSet plain(list_sites(), 2, false, at::kCPU);
  plain.at(1).down[0][0].fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(plain.first_non_finite(), "mid_block.ff.net.2.lora_down");
}

TEST(AdapterSet, RefusesWhatCannotBe) {
  AdapterSet joined(list_sites(), 5, true, at::kCPU);  // of ranks 3 and 2: can be used, but not begun
  EXPECT_ERROR(joined.initialize(0, "normal"), Error, "rank 5 is too large for the site mid_block.ff.net.2",
               "4 inputs and 10 outputs; choose at most 4");
  EXPECT_NO_THROW(AdapterSet(list_sites(), 4, true, at::kCPU).initialize(0, "normal"));
  EXPECT_ERROR(AdapterSet({{"narrow", "", 10, 2}}, 3, true, at::kCPU).initialize(0, "normal"), Error,
               "10 inputs and 2 outputs; choose at most 2");
  EXPECT_ERROR(AdapterSet(list_sites(), 0, true, at::kCPU), Error, "expected a rank of at least 1, found 0");
  EXPECT_ERROR(AdapterSet({}, 1, true, at::kCPU), Error, "at least one site");
  EXPECT_ERROR(AdapterSet({list_sites()[0], list_sites()[0]}, 1, true, at::kCPU), Error,
               "the site down_blocks.0.attn1.to_q occurs twice");
  AdapterSet adapters = list_adapters();
  EXPECT_ERROR(adapters.initialize(0, "zeros"), Error, "gate_init: expected normal or uniform, found \"zeros\"");
  EXPECT_THROW((void)adapters.at(2), std::out_of_range);
}

TEST(GatePooling, HasTwoNames) {
  for (const GatePooling pooling : {GatePooling::sample, GatePooling::batch})
    EXPECT_EQ(gate_pooling_from_text(gate_pooling_text(pooling)), pooling);
  EXPECT_EQ(gate_pooling_text(GatePooling::batch), "batch");
  EXPECT_ERROR((void)gate_pooling_from_text("all"), Error, "expected sample or batch, found \"all\"");
}

}  // namespace
}  // namespace jointtuner::adapter
