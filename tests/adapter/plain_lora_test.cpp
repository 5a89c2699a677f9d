#include "jointtuner/adapter/plain_lora.h"

#include <gtest/gtest.h>

#include "jointtuner/base/safetensors.h"
#include "list_tensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::adapter {
namespace {

using testing::TemporaryFolder;

TEST(PlainLora, HasDiffusersNamesAndAConstantGate) {
  const TemporaryFolder folder;
  export_plain_lora(folder / "lora.safetensors", list_adapters(), 0.5, kInitialGate, "unet.");
  const Safetensors file = load_safetensors(folder / "lora.safetensors");
  ASSERT_EQ(file.tensors.size(), 4u);
  EXPECT_EQ(file.tensors[0].first, "unet.down_blocks.0.attn1.to_q.lora_A.weight");
  EXPECT_TRUE(same(file.tensors[0].second, list_tensors()[1]));
  EXPECT_EQ(file.tensors[3].first, "unet.mid_block.ff.net.2.lora_B.weight");
  EXPECT_TRUE(same(file.tensors[3].second, list_tensors()[3].mul(0.25)));
  EXPECT_EQ(file.metadata.at("jointtuner_gate"), "constant 0.5");
}

TEST(PlainLora, EqualsTheAdapterWhenTheGateIsConstant) {
  const TemporaryFolder folder;
  AdapterSet adapters = list_adapters();
  for (size_t i = 0; i < adapters.size(); ++i) adapters.at(i).gate.zero_();  // then g = sigmoid(0) for every input
  adapters.set_requires_grad(true);
  export_plain_lora(folder / "lora.safetensors", adapters, 1.0, kInitialGate, "");
  const Safetensors file = load_safetensors(folder / "lora.safetensors");
  const Tensor x = list_tensor(5, 4, 6);
  const SiteAdapter& site = adapters.at(0);
  const Tensor gate = x.matmul(site.gate.t()).sigmoid().mean();
  const Tensor expected = x.matmul(site.down.t()).matmul(site.up.t()).mul(gate).detach();
  const Tensor found = x.matmul(file.tensors[0].second.t()).matmul(file.tensors[1].second.t());
  EXPECT_LT(found.sub(expected).abs().max().item<double>(), 1e-6);  // rounding of a sum of 18 products below 1
}

TEST(PlainLora, IsExactWithoutGates) {
  const TemporaryFolder folder;
  export_plain_lora(folder / "lora.safetensors", list_adapters(false), 1.0, 0.25, "unet.");
  const Safetensors file = load_safetensors(folder / "lora.safetensors");
  EXPECT_TRUE(same(file.tensors[1].second, list_tensors(false)[0]));
  EXPECT_EQ(file.metadata.at("jointtuner_gate"), "none");
}

TEST(PlainLora, RefusesAnImpossibleGate) {
  const TemporaryFolder folder;
  for (const double gate : {0.0, -1.0, 1.5})
    EXPECT_ERROR(export_plain_lora(folder / "lora.safetensors", list_adapters(), 1.0, gate, ""), Error,
                 "gate: expected a number above 0 and at most 1, found ");
  EXPECT_FALSE(std::filesystem::exists(folder / "lora.safetensors"));
}

}  // namespace
}  // namespace jointtuner::adapter
