#include "jointtuner/backbone/frozen_module.h"

#include <ATen/Functions.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "support/counting_allocator.h"
#include "support/expect_error.h"
#include "support/nano_bundle.h"

namespace jointtuner::backbone {
namespace {

using at::Tensor;
using testing::BundleCopy;
using testing::golden_bundle;

FrozenModule load(const std::filesystem::path& file, const std::vector<MethodSignature>& methods = {}) {
  return FrozenModule(file, at::kCPU, methods);
}

TEST(FrozenModule, WeightsEqualThoseOfThePlainLoaderAndNeedNoGradient) {
  const std::filesystem::path file = golden_bundle("nano_bundle/denoiser.pt");
  const FrozenModule frozen = load(file, {{"forward", 3}});
  const torch::jit::Module plain = torch::jit::load(file.string());
  const auto expected = plain.named_parameters();
  const auto found = frozen.module().named_parameters();
  ASSERT_GT(found.size(), 200);
  ASSERT_EQ(found.size(), expected.size());
  auto other = expected.begin();
  for (const auto& parameter : found) {
    EXPECT_EQ(parameter.name, (*other).name);
    EXPECT_TRUE(at::equal(parameter.value, (*other).value)) << parameter.name;
    EXPECT_FALSE(parameter.value.requires_grad()) << parameter.name;
    ++other;
  }
}

TEST(FrozenModule, TrainableParametersOfTheFileAreFrozen) {
  const testing::TemporaryFolder folder;
  torch::jit::Module module("Scale");
  module.register_parameter("weight", at::ones({3}).requires_grad_(true), false);
  module.define("def forward(self, x):\n  return x * self.weight\n");
  module.save((folder / "scale.pt").string());
  const FrozenModule frozen = load(folder / "scale.pt", {{"forward", 1}});
  EXPECT_FALSE(frozen.module().attr("weight").toTensor().requires_grad());
  EXPECT_FALSE(FrozenMethod(frozen, "forward", at::kCPU).run({at::ones({2, 3})}).at(0).requires_grad());
}

TEST(FrozenModule, WeightsOutliveAReplacedFile) {
  const BundleCopy copy;
  const std::filesystem::path file = copy.path() / "text_encoder.pt";
  const FrozenModule frozen = load(file);
  const at::Tensor before = (*frozen.module().parameters().begin()).clone();
  write_atomically(file, std::string(100, 'x'));
  EXPECT_TRUE(at::equal(*frozen.module().parameters().begin(), before));
}

TEST(FrozenModule, DamagedFilesAreOneClearLine) {
  const BundleCopy copy;
  const std::filesystem::path file = copy.path() / "denoiser.pt";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  EXPECT_ERROR(load(file), Error, "denoiser.pt", "not a readable TorchScript file", "export the bundle again");
  try {
    load(file);
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
  EXPECT_ERROR(load(copy.path() / "bundle.json"), Error, "bundle.json", "not a readable TorchScript file");
  std::ofstream(file, std::ios::trunc).close();
  EXPECT_ERROR(load(file), Error, "denoiser.pt", "not a readable TorchScript file");
  EXPECT_ERROR(load(copy.path() / "none.pt"), Error, "none.pt", "No such file");
}

TEST(FrozenModule, MethodsAreChecked) {
  EXPECT_ERROR(load(golden_bundle("nano_bundle/denoiser.pt"), {{"encode", 1}}), Error, "denoiser.pt",
               "no method `encode`");
  EXPECT_ERROR(load(golden_bundle("nano_bundle/denoiser.pt"), {{"forward", 4}}), Error,
               "`forward` takes 3 arguments, expected 4");
}

TEST(FrozenMethod, AFailingOperatorIsNamedOnOneLine) {
  const FrozenModule frozen = load(golden_bundle("nano_bundle/autoencoder.pt"));
  const FrozenMethod encode(frozen, "encode", at::kCPU);
  try {
    encode.run({at::zeros({1, 5, 8, 8})});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    testing::expect_parts(error.what(), {"autoencoder.pt", "encode failed on [1, 5, 8, 8]", "3 channels"});
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

/// A module whose methods are given as TorchScript source.
class ScriptedModule {
 public:
  explicit ScriptedModule(const std::string& source) {
    torch::jit::Module module("Scripted");
    module.define(source);
    module.save((folder_ / "scripted.pt").string());
    frozen_.emplace(folder_ / "scripted.pt", at::kCPU, std::vector<MethodSignature>{});
  }
  FrozenMethod method(const std::string& name) const { return {*frozen_, name, at::kCPU}; }

 private:
  testing::TemporaryFolder folder_;
  std::optional<FrozenModule> frozen_;
};

TEST(FrozenMethod, CachesAreListsAtTheEndOfArgumentsAndResults) {
  const ScriptedModule module(
      "def first(self, x):\n  return x + 1, [x, x * 2]\n"
      "def next(self, x, cache: List[Tensor]):\n  a, b = cache\n  return x + a, x - b, [b]\n");
  const FrozenMethod::Values first = module.method("first").run(FrozenMethod::Values{{at::full({2}, 3)}});
  ASSERT_EQ(first.tensors.size(), 1);
  EXPECT_TRUE(at::equal(first.tensors[0], at::full({2}, 4)));
  ASSERT_TRUE(first.list.has_value());
  ASSERT_EQ(first.list->size(), 2);
  EXPECT_TRUE(at::equal(first.list->at(1), at::full({2}, 6)));
  const FrozenMethod::Values next = module.method("next").run(FrozenMethod::Values{{at::full({2}, 10)}, first.list});
  ASSERT_EQ(next.tensors.size(), 2);
  EXPECT_TRUE(at::equal(next.tensors[0], at::full({2}, 13)));
  EXPECT_TRUE(at::equal(next.tensors[1], at::full({2}, 4)));
  EXPECT_TRUE(at::equal(next.list->at(0), at::full({2}, 6)));
}

TEST(FrozenMethod, OtherArgumentsThanTheMethodTakesAreAnError) {
  const ScriptedModule module(
      "def next(self, x, cache: List[Tensor]):\n  a, b = cache\n  return x + a, [b]\n"
      "def backwards(self, x):\n  return [x], x\n");
  const Tensor x = at::zeros({2, 3});
  EXPECT_ERROR(module.method("next").run(FrozenMethod::Values{{x}, {{x}}}), Error,
               "next failed on [2, 3], a list of 1");
  EXPECT_ERROR(module.method("next").run({x}), Error, "next failed on [2, 3]", "takes 2 arguments");
  EXPECT_ERROR(module.method("backwards").run({x}), Error, "not the last of the results");
}

/// x, a and y are 1 MB each, the result is 2 MB: 3 MB at most when nothing is left of x and a once y was made.
TEST(FrozenMethod, MovedArgumentsAreFreedAsSoonAsTheyWereUsed) {
  const ScriptedModule module(
      "def forward(self, x, cache: List[Tensor]):\n  a, = cache\n  y = x * a\n  return torch.cat([y, y])\n");
  const FrozenMethod method = module.method("forward");
  constexpr int64_t kMegabyte = 1 << 20;
  testing::CountingAllocator memory;
  FrozenMethod::Values moved{{at::ones({1 << 18})}, {{at::ones({1 << 18})}}};
  method.run(std::move(moved));
  EXPECT_EQ(memory.peak() / kMegabyte, 3);
  memory.reset();
  const FrozenMethod::Values kept{{at::ones({1 << 18})}, {{at::ones({1 << 18})}}};
  method.run(kept);
  EXPECT_EQ(memory.peak() / kMegabyte, 5);
}

TEST(FrozenMethod, NoMemoryLeftIsAnErrorOfItsOwn) {
  const ScriptedModule module(
      "def forward(self, x):\n  return x * 2\ndef huge(self, x):\n  return torch.zeros([1 << 50])\n");
  EXPECT_ERROR(module.method("huge").run({at::ones({2})}), OutOfMemory, "huge failed on [2]", "4503599627370496 bytes");
  const at::Tensor x = at::ones({1000});
  const FrozenMethod method = module.method("forward");
  testing::CountingAllocator memory;
  const std::vector<std::function<void()>> kinds{
      [] { throw std::bad_alloc(); },
      [] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate 2.00 GiB."); },
      [] { TORCH_CHECK(false, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."); }};
  for (const auto& fail : kinds) {
    memory.bound(100, fail);
    EXPECT_ERROR(method.run({x}), OutOfMemory, "forward failed on [1000]");
  }
  memory.bound(100, [] { TORCH_CHECK(false, "another trouble"); });
  try {
    method.run({x});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(dynamic_cast<const OutOfMemory*>(&error), nullptr) << error.what();
  }
}

}  // namespace
}  // namespace jointtuner::backbone
