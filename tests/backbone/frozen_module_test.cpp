#include "jointtuner/backbone/frozen_module.h"

#include <ATen/Functions.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "support/expect_error.h"
#include "support/nano_bundle.h"

namespace jointtuner::backbone {
namespace {

using testing::BundleCopy;
using testing::golden;

FrozenModule load(const std::filesystem::path& file, const std::vector<MethodSignature>& methods = {}) {
  return FrozenModule(file, at::kCPU, methods);
}

TEST(FrozenModule, weights_equal_those_of_the_plain_loader_and_need_no_gradient) {
  const std::filesystem::path file = golden("nano_bundle/denoiser.pt");
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

TEST(FrozenModule, trainable_parameters_of_the_file_are_frozen) {
  const testing::TemporaryFolder folder;
  torch::jit::Module module("Scale");
  module.register_parameter("weight", at::ones({3}).requires_grad_(true), false);
  module.define("def forward(self, x):\n  return x * self.weight\n");
  module.save((folder / "scale.pt").string());
  const FrozenModule frozen = load(folder / "scale.pt", {{"forward", 1}});
  EXPECT_FALSE(frozen.module().attr("weight").toTensor().requires_grad());
  EXPECT_FALSE(FrozenMethod(frozen, "forward", at::kCPU).run({at::ones({2, 3})}).at(0).requires_grad());
}

TEST(FrozenModule, weights_outlive_a_replaced_file) {
  const BundleCopy copy;
  const std::filesystem::path file = copy.path() / "text_encoder.pt";
  const FrozenModule frozen = load(file);
  const at::Tensor before = (*frozen.module().parameters().begin()).clone();
  write_atomically(file, std::string(100, 'x'));
  EXPECT_TRUE(at::equal(*frozen.module().parameters().begin(), before));
}

TEST(FrozenModule, damaged_files_are_one_clear_line) {
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

TEST(FrozenModule, methods_are_checked) {
  EXPECT_ERROR(load(golden("nano_bundle/denoiser.pt"), {{"encode", 1}}), Error, "denoiser.pt", "no method `encode`");
  EXPECT_ERROR(load(golden("nano_bundle/denoiser.pt"), {{"forward", 4}}), Error,
               "`forward` takes 3 arguments, expected 4");
}

TEST(FrozenMethod, a_failing_operator_is_named_on_one_line) {
  const FrozenModule frozen = load(golden("nano_bundle/autoencoder.pt"));
  const FrozenMethod encode(frozen, "encode", at::kCPU);
  try {
    encode.run({at::zeros({1, 5, 8, 8})});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    testing::expect_parts(error.what(), {"autoencoder.pt", "encode failed on [1, 5, 8, 8]", "3 channels"});
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace jointtuner::backbone
