#include "command_line.h"
#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/safetensors.h"

namespace jointtuner::cli {
namespace {

using ::testing::HasSubstr;

class Convert : public ::testing::TestWithParam<testing::Family> {
 protected:
  static const SmallRun& trained() { return small_run(GetParam()); }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  testing::TemporaryFolder folder_;
};
FOR_ALL_FAMILIES(Convert);

TEST_P(Convert, ThereAndBackKeepsEveryValue) {
  const std::string run = trained().adapter();
  EXPECT_THAT(expect_done({"convert", run, at("2_x.pt")}), HasSubstr("sites, rank 2"));
  expect_done({"convert", at("2_x.pt"), at("back.safetensors"), "--backbone", trained().bundle()});
  const adapter::AdapterFile before = adapter::load_adapter(run), after = adapter::load_adapter(at("back.safetensors"));
  ASSERT_EQ(before.tensors.size(), after.tensors.size());
  for (size_t i = 0; i < before.tensors.size(); ++i) {
    EXPECT_EQ(before.tensors[i].first, after.tensors[i].first);
    EXPECT_TRUE(at::equal(before.tensors[i].second, after.tensors[i].second)) << before.tensors[i].first;
  }
  EXPECT_EQ(after.metadata.step, 2);  // from the name, as the published scripts write it
  EXPECT_EQ(after.metadata.gate_pooling, adapter::GatePooling::sample);
  EXPECT_EQ(after.metadata.denoiser_sha256, before.metadata.denoiser_sha256);
  expect_done({"convert", at("back.safetensors"), at("again.pt")});
  EXPECT_EQ(read_file(at("again.pt")), read_file(at("2_x.pt")));
  expect_done(
      {"convert", at("2_x.pt"), at("b.safetensors"), "--backbone", trained().bundle(), "--gate-pooling", "batch"});
  EXPECT_EQ(adapter::load_adapter(at("b.safetensors")).metadata.gate_pooling, adapter::GatePooling::batch);
}

TEST_P(Convert, Ungated) {
  EXPECT_THAT(expect_done({"convert", trained().adapter(), at("x.safetensors"), "--ungated", "--gate", "0.25",
                           "--prefix", "model."}),
              HasSubstr("constant 0.25, which is an approximation"));
  const Safetensors plain = load_safetensors(at("x.safetensors"));
  EXPECT_EQ(plain.tensors.size(), adapter::load_adapter(trained().adapter()).tensors.size() / 3 * 2);
  for (const auto& [name, tensor] : plain.tensors) EXPECT_TRUE(name.starts_with("model.")) << name;
  expect_refused(2, {"convert", trained().adapter(), at("y.safetensors"), "--gate", "0.3"}, {"--gate", "--ungated"});
  expect_refused(2, {"convert", trained().adapter(), at("y.safetensors"), "--prefix", "x"}, {"--prefix", "--ungated"});
  expect_refused(2, {"convert", trained().adapter(), at("y.pt"), "--ungated"}, {"y.pt", "ending in .safetensors"});
}

TEST_P(Convert, JoinsPlainLorasOnly) {
  expect_refused(1, {"convert", trained().adapter(), at("x.safetensors"), "--join", trained().adapter()},
                 {"gated adapters cannot be joined", "adapter.gate=false"});
  EXPECT_FALSE(fs::exists(at("x.safetensors")));
  expect_done({"train", "--config", trained().config_path(), "--set", "adapter.gate=false", "--set",
               "run.output=" + folder_.path().string(), "--set", "run.name=plain", "--log-level", "error"});
  const std::string plain = at("plain/adapter.safetensors");
  EXPECT_THAT(expect_done({"convert", plain, at("both.safetensors"), "--join", plain}), HasSubstr("sites, rank 4"));
  expect_done({"sample", "--backbone", trained().bundle(), "--adapter", at("both.safetensors"), "--prompt", "a cat",
               "--steps", "1", "--latents-only", "--output", at("videos"), "--log-level", "error"});
}

TEST_P(Convert, WrongNamesAndMissingParts) {
  expect_refused(2, {"convert", trained().adapter(), at("x.bin")}, {"x.bin", ".safetensors", ".pt"});
  std::ofstream(at("there.pt")) << "kept";
  expect_refused(2, {"convert", trained().adapter(), at("there.pt")}, {"there.pt", "exists already"});
  EXPECT_EQ(read_file(at("there.pt")), "kept");
  const std::string list = testing::golden("adapter/published_list.pt").string();
  expect_refused(2, {"convert", list, at("x.safetensors")}, {"published_list.pt", "--backbone"});
  expect_refused(1, {"convert", list, at("x.safetensors"), "--backbone", trained().bundle()}, {"published_list.pt"});
  EXPECT_FALSE(fs::exists(at("x.safetensors")));
}

}  // namespace
}  // namespace jointtuner::cli
