#include "jointtuner/sample/latents_file.h"

#include <ATen/Functions.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "jointtuner/base/safetensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::sample {
namespace {

const char* const kSettings =
    R"({"prompt":"a cat","fps":8.0,"backbone":{"path":"/b","name":"nano","autoencoder_sha256":"00"}})";

class LatentsFileTest : public ::testing::Test {
 protected:
  /// A file as another program may write it.
  std::filesystem::path written(const Tensor& tensor, const std::map<std::string, std::string>& metadata = {},
                                const std::string& name = "latents") {
    Safetensors file;
    file.tensors.emplace_back(name, tensor);
    file.metadata = metadata;
    save_safetensors(path_, file);
    return path_;
  }
  std::map<std::string, std::string> ours(const std::string& settings) {
    return {{"format", "jointtuner-latents"}, {"version", "1"}, {"settings", settings}};
  }

  testing::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "x.latents.safetensors";
};

TEST_F(LatentsFileTest, WhatIsWrittenIsRead) {
  const Tensor latents = at::arange(2 * 3 * 4 * 5, at::kFloat).reshape({1, 2, 3, 4, 5});
  save_latents(path_, {latents, kSettings});
  const LatentsFile found = load_latents(path_);
  EXPECT_TRUE(at::equal(found.latents, latents));
  EXPECT_EQ(found.settings, kSettings);
  const LatentsFile header = load_latents_header(path_);
  EXPECT_TRUE(header.latents.is_meta());
  EXPECT_EQ(header.latents.sizes(), latents.sizes());
  EXPECT_EQ(header.settings, kSettings);
}

TEST_F(LatentsFileTest, AFileOfAnotherProgramHasNoSettings) {
  const Tensor half = at::full({1, 4, 2, 3, 3}, 0.5, at::kHalf);
  const LatentsFile found = load_latents(written(half, {{"format", "pt"}, {"settings", "none of ours"}}));
  EXPECT_EQ(found.settings, "");
  EXPECT_EQ(found.latents.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(found.latents, half.to(at::kFloat)));
}

TEST_F(LatentsFileTest, WhatIsNoLatentsFileIsRefusedByName) {
  const Tensor good = at::zeros({1, 4, 2, 3, 3});
  EXPECT_ERROR(load_latents(written(good, {}, "noise")), Error, path_.string(), "named \"latents\"", "\"noise\"");
  EXPECT_ERROR(load_latents(written(good.select(0, 0))), Error, path_.string(), "[1,C,F,h,w]");
  EXPECT_ERROR(load_latents(written(at::zeros({2, 4, 2, 3, 3}))), Error, "[1,C,F,h,w]");
  EXPECT_ERROR(load_latents(written(good.to(at::kLong))), Error, "floating-point");
  EXPECT_ERROR(load_latents(written(at::full({1, 4, 2, 3, 3}, std::numeric_limits<float>::quiet_NaN()))), Error,
               path_.string(), "finite");
  EXPECT_ERROR(load_latents(folder_ / "absent.safetensors"), Error, "absent.safetensors");
  std::ofstream(path_) << "no latents";
  EXPECT_ERROR(load_latents(path_), Error, path_.string());
}

TEST_F(LatentsFileTest, DamagedSettingsAreRefusedByName) {
  const Tensor good = at::zeros({1, 4, 2, 3, 3});
  for (const char* text : {"", "{", "[]", R"({"fps": 8})", R"({"fps": 8, "backbone": {"path": 1}})"})
    EXPECT_ERROR(load_latents_header(written(good, ours(text))), Error, path_.string(), "/backbone/path");
  auto settings = nlohmann::json::parse(kSettings);
  settings["fps"] = "fast";
  EXPECT_ERROR(load_latents(written(good, ours(settings.dump()))), Error, path_.string(), "/fps", "\"fast\"");
}

TEST(VideoName, SaysNumberWordsAndSeed) {
  EXPECT_EQ(video_name(7, "A Corgi, skateboarding!", 3), "007_a_corgi_skateboarding_s3");
  EXPECT_EQ(video_name(1234, "../../x", 0), "1234_x_s0");
  EXPECT_EQ(video_name(0, "\xC3\xA9\xF0\x9F\x90\xB6", 0), "000_prompt_s0");
  const std::string long_word(100, 'w');
  EXPECT_EQ(video_name(0, long_word, 1), "000_" + long_word.substr(0, 40) + "_s1");
  EXPECT_EQ(video_name(0, "one two three four five six seven eight nine ten", 1),
            "000_one_two_three_four_five_six_seven_eight_s1");
}

}  // namespace
}  // namespace jointtuner::sample
