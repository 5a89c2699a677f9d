#include "cli/command_line.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/base/sha256.h"
#include "jointtuner/sample/latents_file.h"

namespace jointtuner::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json inspected(const std::string& path) { return json::parse(expect_done({"inspect", path, "--json"})); }

class Inspect : public ::testing::TestWithParam<testing::Family> {
 protected:
  static const SmallRun& trained() { return small_run(GetParam()); }
  static json manifest() { return json::parse(read_file(fs::path(trained().bundle()) / "bundle.json")); }
};
FOR_ALL_FAMILIES(Inspect);

TEST_P(Inspect, Adapter) {
  const json found = inspected(trained().adapter());
  int64_t sites = 0;
  const json stated = manifest();
  for (const json& rule : stated["denoiser"]["adapter_rules"]) sites += rule["sites"].get<int64_t>();
  EXPECT_EQ(found["kind"], "adapter");
  EXPECT_EQ(found["rank"], 2);
  EXPECT_EQ(found["step"], 2);
  EXPECT_EQ(found["sites"], sites);
  EXPECT_EQ(found["gate"], "yes, pooled by sample");
  EXPECT_EQ(found["trained with"]["loss_video"], "ait");
  EXPECT_EQ(found["trained with"]["loss_video_weight"], "10");
  EXPECT_EQ(found["sha256"], sha256_file(trained().adapter()));
  EXPECT_EQ(found["bytes"], fs::file_size(trained().adapter()));
  EXPECT_EQ(found["denoiser_sha256"], sha256_file(trained().bundle() + "/denoiser.pt"));
}

TEST(InspectFile, PublishedList) {
  const json gated = inspected(testing::golden("adapter/published_list.pt").string());
  EXPECT_EQ(gated["kind"], "published list");
  EXPECT_EQ(gated["gate"], "yes");
  EXPECT_EQ(gated["tensors"].get<int64_t>(), 3 * gated["sites"].get<int64_t>());
  const json plain = inspected(testing::golden("adapter/published_ungated.pt").string());
  EXPECT_EQ(plain["gate"], "no (plain LoRA)");
  EXPECT_EQ(plain["tensors"].get<int64_t>(), 2 * plain["sites"].get<int64_t>());
  expect_refused(1, {"inspect", testing::golden("adapter/attack.pt").string()}, {"attack.pt", "not", "executed"});
}

TEST_P(Inspect, Bundle) {
  const json found = inspected(trained().bundle()), stated = manifest();
  EXPECT_EQ(found["kind"], "bundle");
  EXPECT_EQ(found["name"], stated["source"]["name"]);
  for (const json& rule : stated["denoiser"]["adapter_rules"])
    EXPECT_EQ(found["sites"][rule["group"].get<std::string>()], rule["sites"]);
  EXPECT_EQ(found["prediction"], stated["schedule"]["prediction_type"]);
  EXPECT_THAT(found["verified"].get<std::string>(), HasSubstr("SHA-256"));
  const testing::BundleCopy copy;
  copy.flip_byte("denoiser.pt");
  expect_refused(1, {"inspect", copy.path().string()}, {"denoiser.pt"});
}

TEST(InspectFile, RunAndCheckpoint) {
  const json run = inspected(small_run().folder());
  EXPECT_EQ(run["kind"], "run");
  EXPECT_EQ(run["name"], "run");
  EXPECT_EQ(run["checkpoints"], (json{1, 2}));
  EXPECT_EQ(run["adapter"]["step"], 2);
  const json checkpoint = inspected(small_run().checkpoint(1));
  EXPECT_EQ(checkpoint["kind"], "checkpoint");
  EXPECT_EQ(checkpoint["step"], 1);
  EXPECT_EQ(checkpoint["adapter"]["step"], 1);
  EXPECT_EQ(inspected(small_run().checkpoint(1) + "/optimizer.safetensors")["kind"], "optimizer state");
  const testing::TemporaryFolder folder;
  fs::copy(small_run().checkpoint(1), folder / "checkpoint");
  fs::permissions(folder / "checkpoint/adapter.safetensors", fs::perms::owner_write, fs::perm_options::add);
  fs::resize_file(folder / "checkpoint/adapter.safetensors", 100);
  expect_refused(1, {"inspect", (folder / "checkpoint").string()}, {"adapter.safetensors"});
}

TEST(InspectFile, LatentsAndOtherSafetensors) {
  const testing::TemporaryFolder folder;
  const std::string path = (folder / "x.safetensors").string();
  const std::string settings = R"({"prompt":"a cat","fps":8,"backbone":{"path":"","name":"","autoencoder_sha256":""}})";
  sample::save_latents(path, {at::zeros({1, 4, 3, 6, 8}), settings});
  const json latents = inspected(path);
  EXPECT_EQ(latents["kind"], "latents");
  EXPECT_EQ(latents["settings"]["prompt"], "a cat");
  EXPECT_EQ(latents["tensors"]["latents"], "[1, 4, 3, 6, 8] Float");
  save_safetensors(path, {{{"weight", at::zeros({2}, at::kHalf)}}, {{"made by", "hand"}}});
  const json other = inspected(path);
  EXPECT_EQ(other["kind"], "safetensors");
  EXPECT_EQ(other["metadata"]["made by"], "hand");
  EXPECT_EQ(other["tensors"]["weight"], "[2] Half");
}

TEST(InspectFile, CacheEntries) {
  int64_t entries = 0;
  for (const auto& entry : fs::recursive_directory_iterator(small_run().cache())) {
    if (entry.path().extension() != ".safetensors") continue;
    EXPECT_EQ(inspected(entry.path().string())["kind"], "cache entry") << entry.path();
    ++entries;
  }
  EXPECT_GT(entries, 0);
}

TEST(InspectFile, AsLinesOfText) {
  const std::string text = expect_done({"inspect", small_run().folder(), small_run().adapter()});
  EXPECT_THAT(text, HasSubstr("kind         run\n"));
  EXPECT_THAT(text, HasSubstr("adapter\n  kind             adapter\n"));
  EXPECT_THAT(text, HasSubstr("\n\nkind             adapter\n"));  // the second path, after an empty line
}

TEST(InspectFile, WhatIsNoneOfThese) {
  const testing::TemporaryFolder folder;
  expect_refused(1, {"inspect", (folder / "absent").string()}, {"absent", "no such file"});
  expect_refused(1, {"inspect", folder.path().string()}, {folder.path().string(), "bundle.json", "state.json"});
  std::ofstream(folder / "x.txt") << "some text that is long enough for a header";
  expect_refused(1, {"inspect", (folder / "x.txt").string()}, {"x.txt"});
  std::ofstream(folder / "config.json") << "{";
  expect_refused(1, {"inspect", folder.path().string()}, {"config.json", "no JSON object"});
}

}  // namespace
}  // namespace jointtuner::cli
