#include "jointtuner/media/video_writer.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "golden_media.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_reader.h"
#include "support/expect_error.h"

namespace jointtuner::media {
namespace {

using testing::TemporaryFolder;

/// Smooth colours that move; H.264 at crf 17 keeps them within a few levels.
Tensor waves(int64_t frames, int64_t height, int64_t width) {
  const Tensor t = at::arange(frames).view({-1, 1, 1}), y = at::arange(height).view({1, -1, 1}),
               x = at::arange(width).view({1, 1, -1});
  const auto wave = [](const Tensor& phase) { return phase.to(at::kFloat).mul(0.05F).sin().mul(90).add(128); };
  return at::stack({wave(x + 4 * t + 0 * y), wave(y + 2 * t + 0 * x), wave(x + y - 3 * t)}, 3).to(at::kByte);
}

TEST(WriteMp4, ReadsBackWithStampsAndColours) {
  const TemporaryFolder folder;
  const Tensor frames = waves(9, 48, 64);
  for (const double fps : {8.0, 30000.0 / 1001, 0.5}) {
    write_mp4(folder / "x.mp4", frames, fps);
    const VideoInfo info = probe_video(folder / "x.mp4");
    EXPECT_EQ(info.frames, 9);
    EXPECT_NEAR(info.duration_s, 9 / fps, 0.002) << fps;
    const Tensor back = read_clip(folder / "x.mp4", {.start_s = 0, .fps = fps, .frames = 9});
    EXPECT_LE(difference(back, frames).mean, 2.5) << fps;  // crf 17 and colour at a quarter of the pixels
  }
}

TEST(WriteMp4, FlatColoursComeBack) {
  const TemporaryFolder folder;
  const Tensor colour = at::tensor({200, 40, 90}, at::kByte);
  write_mp4(folder / "x.mp4", colour.expand({2, 32, 32, 3}), 8);
  const Tensor back = read_clip(folder / "x.mp4", {.start_s = 0, .fps = 8, .frames = 2});
  EXPECT_LE(difference(back, colour.expand({2, 32, 32, 3})).largest, 4);  // 8-bit limited range, twice rounded
}

TEST(WriteMp4, OddSizesGrowByOne) {
  const TemporaryFolder folder;
  const Tensor frames = waves(3, 33, 47);
  write_mp4(folder / "x.mp4", frames, 8);
  const Tensor back = read_clip(folder / "x.mp4", {.start_s = 0, .fps = 8, .frames = 3});
  EXPECT_EQ(back.sizes(), (std::vector<int64_t>{3, 34, 48, 3}));
  EXPECT_LE(difference(back.slice(1, 0, 33).slice(2, 0, 47), frames).mean, 2.5);
}

TEST(WriteMp4, OneFrameAndOnePixelWork) {
  const TemporaryFolder folder;
  write_mp4(folder / "one.mp4", waves(1, 16, 16), 8);
  EXPECT_EQ(probe_video(folder / "one.mp4").frames, 1);
  EXPECT_NEAR(probe_video(folder / "one.mp4").duration_s, 0.125, 1e-3);
  write_mp4(folder / "pixel.mp4", waves(2, 1, 1), 8);
  EXPECT_EQ(probe_video(folder / "pixel.mp4").size, (Size{2, 2}));
}

TEST(WriteMp4, BytesDependOnTheFramesAlone) {
  const TemporaryFolder folder;
  const Tensor frames = waves(12, 64, 96);
  write_mp4(folder / "a.mp4", frames, 8);
  write_mp4(folder / "b.mp4", frames.transpose(1, 2).contiguous().transpose(1, 2), 8);
  EXPECT_TRUE(read_file(folder / "a.mp4") == read_file(folder / "b.mp4"));
  write_gif(folder / "a.gif", frames, 8);
  write_gif(folder / "b.gif", frames.clone(), 8);
  EXPECT_TRUE(read_file(folder / "a.gif") == read_file(folder / "b.gif"));
}

TEST(WriteGif, FewColoursComeBackExactly) {
  const TemporaryFolder folder;
  Tensor frames = at::zeros({3, 8, 8, 3}, at::kByte);
  for (int64_t i = 0; i < 3; ++i) {
    frames[i].slice(0, 2 * i, 2 * i + 3) = at::tensor({250, 10, 60}, at::kByte);
    frames[i].slice(1, 5) = at::tensor({20, 200, 255}, at::kByte);
  }
  write_gif(folder / "x.gif", frames, 10);
  const Tensor back = read_clip(folder / "x.gif", {.start_s = 0, .fps = 10, .frames = 3});
  EXPECT_TRUE(at::equal(back, frames));
}

TEST(WriteGif, ManyColoursStayNear) {
  const TemporaryFolder folder;
  const Tensor frames = waves(5, 48, 64);
  write_gif(folder / "x.gif", frames, 8);
  const VideoInfo info = probe_video(folder / "x.gif");
  EXPECT_EQ(info.frames, 5);
  EXPECT_NEAR(info.duration_s, 0.63, 0.011);  // 62.5 hundredths, rounded
  const Tensor back = read_clip(folder / "x.gif", {.start_s = 0, .fps = 8, .frames = 5});
  EXPECT_LE(difference(back, frames).mean, 8);  // 255 colours for about 10,000
}

TEST(Writers, NameWhatIsWrong) {
  const TemporaryFolder folder;
  const Tensor frames = waves(2, 16, 16);
  EXPECT_ERROR(write_mp4(folder / "x.mp4", frames[0], 8), Error, "uint8 [F,H,W,3]", "[16, 16, 3]");
  EXPECT_ERROR(write_mp4(folder / "x.mp4", frames.to(at::kFloat), 8), Error, "Float");
  EXPECT_ERROR(write_mp4(folder / "x.mp4", frames.narrow(0, 0, 0), 8), Error, "[0, 16, 16, 3]");
  EXPECT_ERROR(write_mp4(folder / "x.mp4", frames, 0), Error, "x.mp4", "rate");
  EXPECT_ERROR(write_gif(folder / "x.gif", frames, 60), Error, "x.gif", "50 fps");
  EXPECT_ERROR(write_mp4(folder / "none" / "x.mp4", frames, 8), Error, "none");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace jointtuner::media
