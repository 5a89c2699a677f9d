#include "jointtuner/data/item.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/sha256.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::data {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

class ListItems : public ::testing::Test {
 protected:
  ListItems() {
    fs::create_directories(images());
    fs::create_directories(videos());
    options_.images = {{.path = images().string(), .caption = "", .start_s = 0}};
    options_.videos = {{.path = videos().string(), .caption = "", .start_s = 0}};
    options_.height = options_.width = 16;
    options_.frames = 4;
    put("grey.png", images() / "b.png", "a grey cat");
    put("exif_6.jpg", images() / "a.jpg", "a lying cat");
    put("plain.mp4", videos() / "run.mp4", "a cat runs");
  }
  fs::path images() const { return folder_ / "images"; }
  fs::path videos() const { return folder_ / "videos"; }
  static void put(const std::string& golden, const fs::path& target, const std::string& caption) {
    fs::copy_file(testing::golden("media") / golden, target);
    if (!caption.empty()) write_atomically(fs::path(target).replace_extension(".txt"), caption);
  }

  TemporaryFolder folder_;
  DataOptions options_;
};

TEST_F(ListItems, ImagesFirstThenVideosEachByPath) {
  put("vfr.mp4", videos() / "jump.mp4", "a cat jumps");
  options_.videos[0].start_s = 0.25;
  options_.clips_per_video = 3;
  const Listing listing = list_items(options_);
  ASSERT_EQ(listing.items.size(), 4U);
  EXPECT_TRUE(listing.skipped.empty());
  const Item &lying = listing.items[0], &jump = listing.items[2], &run = listing.items[3];
  EXPECT_EQ(lying.path, images() / "a.jpg");
  EXPECT_EQ(lying.caption, "a lying cat");
  EXPECT_EQ(lying.source_size, (media::Size{24, 16}));  // turned: stored 16 high, 24 wide
  EXPECT_EQ(lying.content_hash, sha256_file(images() / "a.jpg"));
  EXPECT_EQ(lying.clip_starts_s, std::vector<double>{0});
  EXPECT_EQ(listing.items[1].path, images() / "b.png");
  EXPECT_EQ(jump.path, videos() / "jump.mp4");
  EXPECT_EQ(run.kind, Kind::video);
  EXPECT_NEAR(run.duration_s, 0.96, 1e-3);
  ASSERT_EQ(run.clip_starts_s.size(), 3U);  // allowed: 0.25 to 0.96 - 3/8 s
  EXPECT_NEAR(run.clip_starts_s[0], 0.25, 1e-9);
  EXPECT_NEAR(run.clip_starts_s[1], (0.25 + 0.585) / 2, 1e-3);
  EXPECT_NEAR(run.clip_starts_s[2], 0.585, 1.1e-3);
}

TEST_F(ListItems, OneCaptionForAWholeFolder) {
  fs::remove(images() / "a.txt");
  fs::remove(images() / "b.txt");
  options_.images[0].caption = " a photo\nof a cat ";
  const Listing listing = list_items(options_);
  EXPECT_EQ(listing.items[0].caption, "a photo of a cat");
  EXPECT_EQ(listing.items[1].caption, "a photo of a cat");
}

TEST_F(ListItems, SingleFilesAndHiddenFiles) {
  write_atomically(images() / ".DS_Store", "x");
  write_atomically(images() / "Thumbs.db", "x");
  options_.videos = {{.path = (videos() / "run.mp4").string(), .caption = "", .start_s = 0}};
  EXPECT_EQ(list_items(options_).items.size(), 3U);
  options_.videos.clear();
  for (const Item& item : list_items(options_).items) EXPECT_EQ(item.kind, Kind::image);
}

TEST_F(ListItems, CaptionsAreCleaned) {
  write_atomically(images() / "b.txt", "\xEF\xBB\xBF  a\tcat,\r\n\r\n  grey \xF0\x9F\x90\x88\r\n");
  EXPECT_EQ(list_items(options_).items[1].caption, "a cat,   grey \xF0\x9F\x90\x88");
}

TEST_F(ListItems, NamesWhatIsWrongWithACaption) {
  write_atomically(images() / "b.txt", " \n");
  EXPECT_ERROR(list_items(options_), Error, "b.txt", "empty", "on_bad_item = skip");
  for (const char* bad : {"caf\xE9", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "a\xE2\x82"}) {
    write_atomically(images() / "b.txt", bad);
    EXPECT_ERROR(list_items(options_), Error, "b.txt", "UTF-8");
  }
  fs::remove(images() / "b.txt");
  EXPECT_ERROR(list_items(options_), Error, "b.png", "no caption found", "b.txt", "\"caption\" in the config");
  options_.images[0].caption = "a cat";
  EXPECT_ERROR(list_items(options_), Error, "a.jpg", "two captions", "a.txt");
}

TEST_F(ListItems, ACaptionWithoutMediaIsAnError) {
  write_atomically(videos() / "walk.txt", "a cat walks");
  EXPECT_ERROR(list_items(options_), Error, "walk.txt", "without its picture or video", "walk.*");
}

TEST_F(ListItems, NamesWhatIsWrongWithASource) {
  options_.images[0].path = (folder_ / "nowhere").string();
  EXPECT_ERROR(list_items(options_), Error, "data.images", "nowhere", "no such file or folder");
  fs::create_directories(folder_ / "nothing");
  options_.images[0].path = (folder_ / "nothing").string();
  EXPECT_ERROR(list_items(options_), Error, "data.images", "nothing", "empty", ".txt");
  options_.images[0].path = "";
  EXPECT_ERROR(list_items(options_), UsageError, "data.images", "empty \"path\"");
  options_.images.clear();
  options_.videos.clear();
  EXPECT_ERROR(list_items(options_), UsageError, "data.images, data.videos or both");
}

TEST_F(ListItems, NamesWhatIsWrongWithAFile) {
  put("plain.mp4", images() / "clip.mp4", "a clip among pictures");
  EXPECT_ERROR(list_items(options_), Error, "clip.mp4", "expected a picture");
  fs::remove(images() / "clip.mp4");
  fs::remove(images() / "clip.txt");
  fs::create_directories(images() / "more");
  EXPECT_ERROR(list_items(options_), Error, "more", "folder inside a folder");
  fs::remove(images() / "more");
  options_.frames = 9;
  EXPECT_ERROR(list_items(options_), Error, "run.mp4", "too short", "9 frames at 8 fps", "0.960 s");
}

TEST_F(ListItems, SkipsListEachFileWithItsReason) {
  put("grey.png", images() / "c.png", "");  // no caption
  write_atomically(images() / "d.png", "not a picture");
  write_atomically(images() / "d.txt", "text");
  write_atomically(videos() / "lost.txt", "a caption alone");
  put("audio_only.mp4", videos() / "sound.mp4", "a sound");
  std::string damaged = read_file(testing::golden("media/plain.mp4"));
  for (size_t at = damaged.size() / 2; at < damaged.size() / 2 + 400; ++at) damaged[at] = static_cast<char>(at * 131);
  write_atomically(videos() / "broken.mp4", damaged);
  write_atomically(videos() / "broken.txt", "a broken clip");
  options_.frames = 7;
  EXPECT_ERROR(list_items(options_), Error, "c.png");
  options_.on_bad_item = "skip";
  const Listing listing = list_items(options_);
  EXPECT_EQ(listing.items.size(), 3U);
  ASSERT_EQ(listing.skipped.size(), 5U);
  EXPECT_EQ(listing.skipped[0].path, images() / "c.png");
  EXPECT_THAT(listing.skipped[0].reason, ::testing::HasSubstr("no caption"));
  EXPECT_THAT(listing.skipped[1].reason, ::testing::HasSubstr("OpenCV"));
  EXPECT_EQ(listing.skipped[2].path, videos() / "broken.mp4");
  EXPECT_THAT(listing.skipped[2].reason, ::testing::HasSubstr("damaged"));
  EXPECT_THAT(listing.skipped[3].reason, ::testing::HasSubstr("without its picture"));
  EXPECT_THAT(listing.skipped[4].reason, ::testing::HasSubstr("without a video stream"));
}

TEST_F(ListItems, NothingLeftIsAnErrorEvenWhenSkipping) {
  options_.on_bad_item = "skip";
  options_.frames = 100;
  EXPECT_ERROR(list_items(options_), Error, "no video is left", "run.mp4", "too short");
  options_.images[0].path = (folder_ / "nowhere").string();
  EXPECT_ERROR(list_items(options_), Error, "nowhere");
}

TEST_F(ListItems, DataHashFollowsContentAndCaption) {
  const std::string before = data_hash(list_items(options_).items);
  EXPECT_EQ(data_hash(list_items(options_).items), before);
  options_.videos[0].start_s = 0.125;
  EXPECT_NE(data_hash(list_items(options_).items), before);
  options_.videos[0].start_s = 0;
  fs::rename(images() / "b.png", images() / "c.png");
  fs::rename(images() / "b.txt", images() / "c.txt");
  EXPECT_EQ(data_hash(list_items(options_).items), before);  // a name is no content
  write_atomically(images() / "c.txt", "another cat");
  const std::string recaptioned = data_hash(list_items(options_).items);
  EXPECT_NE(recaptioned, before);
  fs::copy_file(testing::golden("media/palette.png"), images() / "c.png", fs::copy_options::overwrite_existing);
  EXPECT_NE(data_hash(list_items(options_).items), recaptioned);
}

}  // namespace
}  // namespace jointtuner::data
