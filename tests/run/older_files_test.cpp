// What version 0.1.0 wrote at commit 5f28402 still serves: run folders, checkpoints, adapters and latents in
// tests/goldens/written_by_0.1.0, made there by `train --config config.json` (a bundle, a picture and a clip of
// tests/goldens; stopped after step 4 of 6), `sample --seed 5`, and a plain run with a loss that is gone since.
#include <ATen/Functions.h>

#include "cli/command_line.h"
#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/base/safetensors.h"

namespace jointtuner::run {
namespace {

using cli::expect_done;
namespace fs = std::filesystem;

/// The folder that they were written in, with the bundle and the data that they name; the current folder while it
/// lives.
class OlderFiles : public ::testing::Test {
 protected:
  OlderFiles() {
    const auto everything = fs::copy_options::recursive;
    fs::copy(testing::golden("written_by_0.1.0"), folder_.path(), everything);
    fs::copy(testing::families().front().bundle, folder_ / "bundle", everything);
    for (const char* folder : {"images", "videos"}) fs::create_directory(folder_ / folder);
    fs::copy(testing::golden("media/picture.bmp"), folder_ / "images");
    fs::copy(testing::golden("media/plain.mp4"), folder_ / "videos");
    std::ofstream(folder_ / "images/picture.txt") << "a cat\n";
    std::ofstream(folder_ / "videos/plain.txt") << "a dog\n";
    fs::current_path(folder_.path());
  }
  ~OlderFiles() override { fs::current_path(before_); }

  /// Another processor may round otherwise, so not the bytes are compared here.
  static void expect_equal(const fs::path& found, const fs::path& expected) {
    const Safetensors one = load_safetensors(found), other = load_safetensors(expected);
    ASSERT_EQ(one.tensors.size(), other.tensors.size());
    for (size_t i = 0; i < one.tensors.size(); ++i) {
      ASSERT_EQ(one.tensors[i].first, other.tensors[i].first);
      EXPECT_TRUE(at::allclose(one.tensors[i].second, other.tensors[i].second, 1e-3, 1e-4)) << one.tensors[i].first;
    }
  }

 private:
  fs::path before_ = fs::current_path();
  testing::TemporaryFolder folder_;
};

TEST_F(OlderFiles, AStoppedRunGoesOnToItsEnd) {
  expect_done({"train", "--config", "config.json", "--resume", "--log-level", "error"});
  expect_equal("runs/gated/adapter.safetensors", "expected/adapter.safetensors");
  adapter::AdapterMetadata expected = adapter::load_adapter("expected/adapter.safetensors").metadata;
  expected.trained_with.erase("loss_static_weight");  // an option that is gone, 0 there
  adapter::AdapterMetadata found = adapter::load_adapter("runs/gated/adapter.safetensors").metadata;
  EXPECT_THAT(found.trained_with, ::testing::IsSupersetOf(expected.trained_with));  // options may have come since
  found.trained_with = expected.trained_with;
  EXPECT_EQ(found, expected);
}

TEST_F(OlderFiles, ARunSamplesTheSameLatents) {
  expect_done({"train", "--config", "config.json", "--resume", "--log-level", "error"});
  expect_done({"sample", "--run", "runs/gated", "--seed", "5", "--latents-only", "--output", "again"});
  expect_equal("again/000_a_cat_s5.latents.safetensors", "expected/000_a_cat_s5.latents.safetensors");
}

TEST_F(OlderFiles, LatentsAreDecoded) {
  expect_done({"decode", "--latents", "expected/000_a_cat_s5.latents.safetensors", "--backbone", "bundle"});
  EXPECT_GT(fs::file_size("expected/000_a_cat_s5.mp4"), 0U);
}

TEST_F(OlderFiles, ARunWithALossThatIsGoneCanBeLookedAtAndSampled) {
  EXPECT_THAT(expect_done({"inspect", "runs/plain"}), ::testing::HasSubstr("static_weighted"));
  expect_done({"sample", "--run", "runs/plain", "--prompt", "a cat", "--latents-only", "--output", "plain"});
  EXPECT_TRUE(fs::exists("plain/000_a_cat_s1.latents.safetensors"));
}

}  // namespace
}  // namespace jointtuner::run
