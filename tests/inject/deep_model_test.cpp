// In a deep model the inputs of its segments are most of what a step holds: what each SegmentMemory takes of a device
// for every further segment.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/api/module.h>

#include <map>

#include "jointtuner/base/generator.h"
#include "jointtuner/inject/graph_program.h"
#include "support/nano_bundle.h"
#include "support/stand_in_device.h"

namespace jointtuner::inject {
namespace {

using enum SegmentMemory;
using torch::jit::Module;

constexpr int64_t kWidth = 32;

/// A denoiser of so many equal blocks, x + sin(xW^T), each a segment and a site, in the place of the nano bundle's.
class DeepBundle {
 public:
  explicit DeepBundle(int64_t blocks) {
    // All in one compilation unit, where equal classes get names of their own, as in a traced file.
    const auto unit = std::make_shared<torch::jit::CompilationUnit>();
    const auto module = [&](const char* name) { return Module(fmt::format("__torch__.{}", name), unit, true); };
    Module unet = module("Deep"), wrapper = module("Wrapper");
    std::string forward = "def forward(self, x):\n";
    for (int64_t i = 0; i < blocks; ++i) {
      Module linear = module("Linear"), block = module("Block");
      linear.register_parameter("weight", normal_draw({kWidth, kWidth}, generator(1, i, "weight")), false);
      linear.define("def forward(self, x):\n  return torch.linear(x, self.weight)\n");
      block.register_module("linear", linear);
      block.define("def forward(self, x):\n  return x + torch.sin(self.linear.forward(x))\n");
      unet.register_module(fmt::format("block{}", i), block);
      forward += fmt::format("  x = self.block{}.forward(x)\n", i);
    }
    unet.define(forward + "  return x\n");
    wrapper.register_module("unet", unet);
    wrapper.define("def forward(self, latents, timestep, prompt_embedding):\n  return self.unet.forward(latents)\n");
    wrapper.save((copy_.path() / "denoiser.pt").string());
    copy_.edit([&](nlohmann::json& manifest) {
      manifest["files"]["denoiser.pt"]["bytes"] = std::filesystem::file_size(copy_.path() / "denoiser.pt");
      manifest["denoiser"]["adapter_rules"] = {
          {{"ancestor_class", "Block"}, {"names", {"linear"}}, {"group", "all"}, {"sites", blocks}}};
      manifest["denoiser"]["segments"] = {"block[0-9]+"};
    });
  }

  backbone::Bundle open() const { return backbone::Bundle::open(copy_.path(), backbone::Verify::sizes); }

 private:
  testing::BundleCopy copy_;
};

struct Need {
  int64_t device = 0;  ///< the most of a step above what is there before it
  int64_t host = 0;
};

/// Of the stand-in, whose memory does not hold the host's buffers.
std::map<SegmentMemory, Need> needs(int64_t blocks, const Tensor& latents) {
  const DeepBundle deep(blocks);
  const backbone::Bundle bundle = deep.open();
  GraphProgram program(bundle, latents.device());
  adapter::AdapterSet adapters(program.sites(), 1, true, latents.device());
  adapters.assign(normal_draw({adapters.parameters()}, generator(1, 0, "adapters")));
  adapters.set_requires_grad(true);
  const Tensor timestep = at::full({1}, 500, at::kLong).to(latents.device());
  const Tensor text = at::zeros({1, 1, bundle.manifest().text.embedding_width}).to(latents.device());
  std::map<SegmentMemory, Need> found;
  for (const SegmentMemory memory : {keep, recompute, offload}) {
    program.set_segment_memory({memory});
    adapters.zero_gradient();
    auto* const allocator = c10::getDeviceAllocator(latents.device().type());
    allocator->resetPeakStats(0);
    const int64_t before = testing::stand_in_bytes();
    program.run(latents, timestep, text, &adapters).square().mean().backward();
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    found[memory] = {allocator->getDeviceStats(0).allocated_bytes[all].peak - before, program.host_bytes()};
  }
  return found;
}

TEST(DeepModel, AFurtherSegmentTakesItsActivationsOrItsInputOrNothing) {
  constexpr int64_t kBlocks = 6;
  const Tensor latents = normal_draw({1, 4, 8, 16, kWidth}, generator(1, 0, "latents")).to(testing::stand_in());
  const auto input = static_cast<int64_t>(latents.nbytes());
  std::map<SegmentMemory, Need> few = needs(kBlocks, latents), many = needs(2 * kBlocks, latents);
  // Kept of a block: its input, the sine's argument, and what the adapter has of its rank.
  EXPECT_GT(many[keep].device, few[keep].device + 2 * kBlocks * input);
  EXPECT_LT(many[keep].device, few[keep].device + 3 * kBlocks * input);
  EXPECT_EQ(many[recompute].device, few[recompute].device + kBlocks * input);
  EXPECT_EQ(many[offload].device, few[offload].device);
  // All inputs but the first, which are the caller's latents; two of them are on the device.
  EXPECT_EQ(few[recompute].device, few[offload].device + (kBlocks - 1 - 2) * input);
  EXPECT_EQ(few[offload].host, (kBlocks - 1) * input);
  EXPECT_EQ(many[offload].host, (2 * kBlocks - 1) * input);
  EXPECT_GT(few[keep].device, few[recompute].device);
}

}  // namespace
}  // namespace jointtuner::inject
