#include "jointtuner/data/pixels.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "jointtuner/media/image.h"
#include "jointtuner/media/video_reader.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::data {
namespace {

DataOptions small() {
  DataOptions options;
  options.height = 12;
  options.width = 20;
  options.frames = 3;
  return options;
}

Item item_of(Kind kind, const char* name, std::vector<double> starts_s, media::Size size) {
  Item item;
  item.kind = kind;
  item.path = testing::golden("media") / name;
  item.clip_starts_s = std::move(starts_s);
  item.source_size = size;
  return item;
}

TEST(LoadFrames, ImageFittedThenFlipped) {
  const Item item = item_of(Kind::image, "picture.bmp", {0}, {16, 24});
  const Tensor plain = load_frames(item, {.item = 0, .flip = false, .clip = 0}, small());
  EXPECT_EQ(plain.sizes(), (std::vector<int64_t>{1, 12, 20, 3}));
  EXPECT_TRUE(at::equal(plain[0], media::fit(media::read_image(item.path), 12, 20)));
  EXPECT_TRUE(at::equal(load_frames(item, {.item = 0, .flip = true, .clip = 0}, small()), plain.flip(2)));
  DataOptions stretched = small();
  stretched.resize = "stretch";
  EXPECT_TRUE(at::equal(load_frames(item, {}, stretched)[0],
                        media::fit(media::read_image(item.path), 12, 20, media::Fit::stretch)));
}

TEST(LoadFrames, VideoFromTheDrawnStart) {
  const Item item = item_of(Kind::video, "plain.mp4", {0, 0.2}, {32, 48});
  for (const int64_t clip : {0, 1}) {
    const Tensor frames = load_frames(item, {.item = 0, .flip = false, .clip = clip}, small());
    const Tensor wanted =
        media::read_clip(item.path, {.start_s = 0.2 * static_cast<double>(clip), .fps = 8, .frames = 3});
    EXPECT_TRUE(at::equal(frames, media::fit(wanted, 12, 20)));
  }
  EXPECT_ERROR(load_frames(item, {.item = 0, .flip = false, .clip = 2}, small()), Error, "plain.mp4", "below 2");
}

TEST(UseOf, SaysWhatLoadFramesDoes) {
  const ItemUse video = use_of(item_of(Kind::video, "plain.mp4", {0, 0.2}, {32, 48}), small());
  EXPECT_EQ(video.crop, (media::Crop{1, 0, 29, 48}));  // 48 * 12 / 20 = 28.8
  EXPECT_EQ(video.fitted, (media::Size{12, 20}));
  ASSERT_EQ(video.clips.size(), 2U);
  EXPECT_EQ(video.clips[1].start_s, 0.2);
  ASSERT_EQ(video.clips[1].times_s.size(), 3U);  // 0.2, 0.325, 0.45 at 25 fps: frames 5, 8, 11
  EXPECT_NEAR(video.clips[1].times_s[0], 0.20, 1e-6);
  EXPECT_NEAR(video.clips[1].times_s[1], 0.32, 1e-6);
  EXPECT_NEAR(video.clips[1].times_s[2], 0.44, 1e-6);
  const ItemUse image = use_of(item_of(Kind::image, "picture.bmp", {0}, {16, 24}), small());
  ASSERT_EQ(image.clips.size(), 1U);
  EXPECT_TRUE(image.clips[0].times_s.empty());
}

}  // namespace
}  // namespace jointtuner::data
