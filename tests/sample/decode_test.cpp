#include "jointtuner/sample/decode.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_reader.h"
#include "nano_sampling.h"

namespace jointtuner::sample {
namespace {

using testing::TemporaryFolder;

class DecodeTest : public NanoSampling {
 protected:
  /// Latents of any content, as another program would write them.
  fs::path foreign_latents(int64_t more_channels = 0) {
    const fs::path path = folder_ / "foreign.safetensors";
    std::vector<int64_t> shape = noise_shape();
    shape[1] += more_channels;
    shape[2] = latent_frames();
    save_safetensors(path, {{{"latents", initial_noise(shape, 1).mul(0.1)}}, {}});
    return path;
  }
  void decode(const fs::path& latents, const fs::path& output, double fps = 0) {
    SampleOptions options;
    options.fps = fps;
    decode_latents_file(bundle(), at::kCPU, latents, output, options);
  }
  Tensor pixels(const fs::path& latents) {
    return backbone::Autoencoder(bundle(), at::kCPU, {}).decode_to_bytes(load_latents(latents).latents).squeeze(0);
  }

  int64_t frames() const { return GetParam().frames; }

  TemporaryFolder folder_;
};
FOR_ALL_FAMILIES(DecodeTest);

TEST_P(DecodeTest, LatentsDecodedLaterGiveTheSameBytes) {
  Sampling sampling(bundle(), at::kCPU, small_options({"a cat", "a dog"}));
  const auto videos = sampling.denoise(program(), trained(), folder_ / "s");
  sampling.decode(folder_ / "s", videos);
  for (const Video& video : videos) {
    const fs::path again = folder_ / (video.name + ".mp4");
    decode(folder_ / "s" / (video.name + std::string(kLatentsEnding)), again);
    EXPECT_EQ(read_file(again), read_file(folder_ / "s" / (video.name + ".mp4")));
    const auto info = media::probe_video(again);
    EXPECT_NEAR(info.duration_s, static_cast<double>(frames()) / 8, 1e-6);
  }
}

TEST_P(DecodeTest, AFolderOfSamplesListsThemAndShowsThem) {
  SampleOptions options = small_options({"a cat", "a dog"});
  options.seeds = {3, 4};
  options.decode_tile = 16;
  Sampling sampling(bundle(), at::kCPU, options);
  std::vector<Video> videos = sampling.denoise(program(), trained(), folder_.path());
  NamedAdapter frozen;
  const auto more = sampling.denoise(program(), frozen, folder_.path(), 4);
  videos.insert(videos.end(), more.begin(), more.end());
  sampling.decode(folder_.path(), videos);
  std::istringstream lines(read_file(folder_ / "samples.jsonl"));
  std::vector<nlohmann::json> list;
  for (std::string line; std::getline(lines, line);) list.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(list.size(), 8U);
  EXPECT_EQ(list[5]["file"], "005_a_cat_s4.mp4");
  EXPECT_EQ(list[5]["latents"], "005_a_cat_s4.latents.safetensors");
  EXPECT_EQ(list[5]["label"], "frozen");
  EXPECT_EQ(list[5]["seed"], 4);
  EXPECT_EQ(list[5]["decode_tile"], 16);
  EXPECT_EQ(list[0]["label"], "step 5");
  for (const auto& row : list) EXPECT_TRUE(fs::exists(folder_ / row["file"].get<std::string>())) << row["file"];
  EXPECT_EQ(media::read_image(folder_ / "sheet.png").size(2), 3);
  videos.pop_back();
  EXPECT_ERROR(sampling.decode(folder_.path(), videos), Error, "different numbers of videos");
}

TEST_P(DecodeTest, TheNameChoosesTheFormat) {
  EXPECT_EQ(video_format("x/y.mp4"), VideoFormat::mp4);
  EXPECT_EQ(video_format("x.d/y.gif"), VideoFormat::gif);
  EXPECT_EQ(video_format("x.d/frames"), VideoFormat::frames);
  EXPECT_EQ(video_format("frames/"), VideoFormat::frames);
  for (const char* name : {"x.avi", "x.MP4", "frames_0.5"}) EXPECT_ERROR(video_format(name), UsageError, name, ".mp4");
}

TEST_P(DecodeTest, FramesAreLossless) {
  const fs::path latents = foreign_latents();
  decode(latents, folder_ / "new" / "frames");
  const Tensor expected = pixels(latents);
  ASSERT_EQ(expected.sizes(), (std::vector<int64_t>{frames(), GetParam().height, GetParam().width, 3}));
  for (int64_t i = 0; i < frames(); ++i)
    EXPECT_TRUE(
        at::equal(media::read_image(folder_ / "new/frames" / ("000" + std::to_string(i) + ".png")), expected[i]));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "new/frames"), {}), frames());
  EXPECT_ERROR(decode(latents, folder_ / "new" / "frames"), UsageError, "exists already");
  EXPECT_NO_THROW(decode(latents, (folder_ / "more").string() + "/"));
  EXPECT_TRUE(fs::exists(folder_ / "more/0002.png"));
}

TEST_P(DecodeTest, GifAndRate) {
  const fs::path latents = foreign_latents();
  decode(latents, folder_ / "x.gif", 20);
  EXPECT_EQ(read_file(folder_ / "x.gif").substr(0, 6), "GIF89a");
  EXPECT_ERROR(decode(latents, folder_ / "y.gif", 60), UsageError, "y.gif", "50 frames per second", "60");
  EXPECT_FALSE(fs::exists(folder_ / "y.gif"));
  decode(latents, folder_ / "x.mp4", 4);
  EXPECT_NEAR(media::probe_video(folder_ / "x.mp4").duration_s, static_cast<double>(frames()) / 4, 1e-6);
}

TEST_P(DecodeTest, LatentsForAnotherAutoencoderAreRefused) {
  EXPECT_ERROR(decode(foreign_latents(4), folder_ / "x.mp4"), Error, "foreign.safetensors",
               bundle().manifest().source_name.c_str());
  nlohmann::json settings{
      {"fps", 8}, {"backbone", {{"path", "b"}, {"name", "another"}, {"autoencoder_sha256", std::string(64, '0')}}}};
  save_latents(folder_ / "other.safetensors", {at::zeros(noise_shape()), settings.dump()});
  EXPECT_ERROR(decode(folder_ / "other.safetensors", folder_ / "x.mp4"), Error, "other.safetensors",
               "autoencoder 000000000000 of backbone another", "--backbone");
  EXPECT_FALSE(fs::exists(folder_ / "x.mp4"));
}

}  // namespace
}  // namespace jointtuner::sample
