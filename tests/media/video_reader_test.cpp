#include "jointtuner/media/video_reader.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "golden_media.h"
#include "jointtuner/base/atomic_file.h"
#include "support/expect_error.h"

namespace jointtuner::media {
namespace {

using testing::TemporaryFolder;

std::vector<double> values(const Tensor& tensor) {
  const Tensor doubles = tensor.to(at::kDouble).contiguous();
  return {doubles.const_data_ptr<double>(), doubles.const_data_ptr<double>() + doubles.numel()};
}

/// "vfr.mp4:0.5/8/8.times" -> file, request.
std::pair<std::string, ClipRequest> parse(const std::string& key) {
  char name[64];
  ClipRequest request;
  long long frames = 0;
  EXPECT_EQ(std::sscanf(key.c_str(), "%63[^:]:%lf/%lf/%lld", name, &request.start_s, &request.fps, &frames), 4) << key;
  request.frames = frames;
  return {name, request};
}

/// Stamps equal those of a plain loop over all frames in PyAV, to a microsecond.
TEST(ReadClip, PicksTheFramesThatPythonPicks) {
  int requests = 0;
  for (const auto& [key, tensor] : expected().tensors) {
    if (!key.ends_with(".times")) continue;
    ++requests;
    const auto [name, request] = parse(key);
    const std::vector<double> found = picked_times_s(media_file(name), request), wanted = values(tensor);
    ASSERT_EQ(found.size(), wanted.size()) << key;
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], wanted[i], 1e-6) << key << " pick " << i;
  }
  EXPECT_EQ(requests, 17);
}

/// Pixels differ by the rounding of two versions of libswscale; the neighbouring frame differs by 8 levels in the grey
/// block alone.
TEST(ReadClip, PixelsEqualPythons) {
  int requests = 0;
  for (const auto& [key, tensor] : expected().tensors) {
    if (!key.ends_with(".frames")) continue;
    ++requests;
    auto [name, request] = parse(key);
    request.size = Size{16, 24};
    const Tensor clip = read_clip(media_file(name), request);
    ASSERT_EQ(clip.sizes(), tensor.sizes()) << key;
    for (int64_t frame = 0; frame < request.frames; ++frame)
      EXPECT_LE(difference(clip[frame], tensor[frame]).mean, 1.0) << key << " pick " << frame;
  }
  EXPECT_EQ(requests, 15);
}

TEST(ReadClip, FittingInsideEqualsFittingAfterwards) {
  for (const char* name : {"plain.mp4", "turned_90.mp4", "wide_pixels.mp4"}) {
    ClipRequest request{.start_s = 0.1, .fps = 10, .frames = 5};
    const Tensor whole = read_clip(media_file(name), request);
    request.size = Size{20, 20};
    EXPECT_TRUE(at::equal(read_clip(media_file(name), request), fit(whole, 20, 20))) << name;
    request.fit = Fit::stretch;
    EXPECT_TRUE(at::equal(read_clip(media_file(name), request), fit(whole, 20, 20, Fit::stretch))) << name;
  }
}

/// Frames of a clip that starts late, or of sparse picks (where the decoder leaves frames out), are those of a whole
/// read.
TEST(ReadClip, StartAndRateDoNotChangePixels) {
  for (const char* name : {"plain.mp4", "edit_list.mp4", "late_start.ts", "raw.h264", "no_stamps.avi"}) {
    const Tensor all = read_clip(media_file(name), {.start_s = 0, .fps = 25, .frames = 19});
    for (int64_t first = 0; first < 18; ++first) {
      const double start_s = 0.04 * static_cast<double>(first);
      const Tensor pair = read_clip(media_file(name), {.start_s = start_s, .fps = 25, .frames = 2});
      EXPECT_TRUE(at::equal(pair, all.narrow(0, first, 2))) << name << " from frame " << first;
    }
    const Tensor sparse = read_clip(media_file(name), {.start_s = 0, .fps = 5, .frames = 4});
    EXPECT_TRUE(at::equal(sparse, all.slice(0, 0, 16, 5))) << name;
  }
}

/// A clip is long enough when its last frame begins before the end: 24 frames of 40 ms show 0.92 s, not 0.96 s.
TEST(ReadClip, TooShortNamesLengthAndNeed) {
  const ClipRequest fits{.start_s = 0, .fps = 25, .frames = 24};
  EXPECT_EQ(read_clip(media_file("plain.mp4"), fits).size(0), 24);
  ClipRequest request = fits;
  request.frames = 25;
  EXPECT_ERROR(read_clip(media_file("plain.mp4"), request), Error, "plain.mp4", "too short", "lasts 0.960 s",
               "25 frames at 25 fps", "more than 0.960 s");
  request = fits;
  request.start_s = 0.5;
  EXPECT_ERROR(picked_times_s(media_file("plain.mp4"), request), Error, "too short", "from 0.5 s on");
  EXPECT_ERROR(read_clip(media_file("raw.h264"), request), Error, "raw.h264", "lasts 0.960 s");
}

TEST(ReadClip, LastStartIsTheLastThatFits) {
  ClipRequest request{.start_s = 0, .fps = 8, .frames = 4};
  request.start_s = last_start_s(probe_video(media_file("plain.mp4")).duration_s, request);
  EXPECT_NEAR(request.start_s, 0.96 - 0.375, 0.0011);
  EXPECT_EQ(read_clip(media_file("plain.mp4"), request).size(0), 4);
  request.start_s += 0.002;
  EXPECT_ERROR(read_clip(media_file("plain.mp4"), request), Error, "too short");
}

TEST(ReadClip, RefusesNonsense) {
  for (const ClipRequest& request : {ClipRequest{.start_s = -1}, ClipRequest{.fps = 0}, ClipRequest{.frames = 0}})
    EXPECT_ERROR(read_clip(media_file("plain.mp4"), request), UsageError, "fps > 0");
}

/// Two saturated corners survive BT.709 full range only when the tags are honoured; read as BT.601 limited, the red is
/// off by 20 levels.
TEST(ReadClip, HonoursMatrixAndRange) {
  const Tensor clip = read_clip(media_file("bt709_full.mp4"), {.start_s = 0, .fps = 4, .frames = 1});
  const Tensor red = clip[0].slice(0, 27, 31).slice(1, 1, 6).to(at::kFloat).mean(at::IntArrayRef{0, 1});
  EXPECT_NEAR(red[0].item<float>(), 220, 6);
  EXPECT_NEAR(red[1].item<float>(), 20, 6);
  EXPECT_NEAR(red[2].item<float>(), 20, 6);
}

struct ProbeCase {
  const char* name;
  const char* container;
  const char* codec;
  Size size;
  int64_t rotation, frames;
  double duration_s;
  bool stamps_from_rate;
};

TEST(ProbeVideo, SaysWhatIsThere) {
  const ProbeCase cases[] = {
      {"vfr.mp4", "mov", "h264", {32, 48}, 0, 13, 2.25, false},  // the last lasts as long as the one before
      {"plain.mp4", "mov", "h264", {32, 48}, 0, 24, 0.96, false},
      {"turned_90.mp4", "mov", "h264", {48, 32}, 90, 24, 0.96, false},
      {"mirrored.mp4", "mov", "h264", {32, 48}, 0, 24, 0.96, false},
      {"edit_list.mp4", "mov", "h264", {32, 48}, 0, 19, 0.76, false},
      {"late_start.ts", "mpegts", "h264", {32, 48}, 0, 24, 0.96, false},
      {"raw.h264", "h264", "h264", {32, 48}, 0, 24, 0.96, true},
      {"no_stamps.avi", "avi", "mpeg4", {32, 48}, 0, 24, 0.96, false},
      {"thirty.mkv", "matroska", "h264", {32, 48}, 0, 30, 1.0, false},
      {"wide_pixels.mp4", "mov", "h264", {32, 64}, 0, 24, 0.96, false}};
  for (const ProbeCase& wanted : cases) {
    const VideoInfo info = probe_video(media_file(wanted.name));
    EXPECT_THAT(info.container, ::testing::HasSubstr(wanted.container)) << wanted.name;
    EXPECT_EQ(info.codec, wanted.codec) << wanted.name;
    EXPECT_EQ(info.size, wanted.size) << wanted.name;
    EXPECT_EQ(info.rotation_degrees, wanted.rotation) << wanted.name;
    EXPECT_EQ(info.frames, wanted.frames) << wanted.name;
    EXPECT_NEAR(info.duration_s, wanted.duration_s, 0.0011) << wanted.name;
    EXPECT_NEAR(info.mean_fps, static_cast<double>(wanted.frames) / wanted.duration_s, 0.1) << wanted.name;
    EXPECT_EQ(info.stamps_from_rate, wanted.stamps_from_rate) << wanted.name;
  }
}

TEST(ProbeVideo, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_ERROR(probe_video(folder / "none.mp4"), Error, "none.mp4", "no such file");
  EXPECT_ERROR(probe_video(folder.path()), Error, "found a folder");
  write_atomically(folder / "empty.mp4", "");
  EXPECT_ERROR(probe_video(folder / "empty.mp4"), Error, "empty.mp4", "0 bytes");
  write_atomically(folder / "text.mp4", "this is a diary, not a film\n");
  EXPECT_ERROR(probe_video(folder / "text.mp4"), Error, "text.mp4", "libav cannot open");
  EXPECT_ERROR(probe_video(media_file("audio_only.mp4")), Error, "audio_only.mp4", "without a video stream");
}

/// A playlist that points at another file must not be followed out of its folder or to the network.
TEST(ProbeVideo, DoesNotFollowPlaylistsToTheNetwork) {
  const TemporaryFolder folder;
  write_atomically(folder / "list.mp4",
                   "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n");
  EXPECT_ERROR(probe_video(folder / "list.mp4"), Error, "list.mp4");
}

/// Cut anywhere, an mp4 whose index comes first is refused; cut before the index is complete, it cannot be opened.
TEST(ProbeVideo, RefusesCutFiles) {
  const TemporaryFolder folder;
  const std::string bytes = read_file(media_file("plain.mp4"));
  for (const double part : {0.02, 0.3, 0.5, 0.7, 0.9, 0.99}) {
    write_atomically(folder / "cut.mp4",
                     std::string_view(bytes).substr(0, static_cast<size_t>(part * static_cast<double>(bytes.size()))));
    EXPECT_ERROR(probe_video(folder / "cut.mp4"), Error, "cut.mp4", "cut off");
  }
}

TEST(ReadClip, RefusesDamageInWhatItNeeds) {
  const TemporaryFolder folder;
  std::string bytes = read_file(media_file("plain.mp4"));
  for (size_t at = bytes.size() / 2; at < bytes.size() / 2 + 400; ++at) bytes[at] = static_cast<char>(at * 131);
  write_atomically(folder / "damaged.mp4", bytes);
  EXPECT_ERROR(read_clip(folder / "damaged.mp4", {.start_s = 0, .fps = 25, .frames = 24}), Error, "damaged.mp4",
               "damaged");
}

/// Six bytes inside one picture: the decoder conceals the hole without an error of its own, and only marks the picture.
TEST(ReadClip, RefusesConcealedPictures) {
  const TemporaryFolder folder;
  std::string bytes = read_file(media_file("plain.mp4"));
  for (size_t at = 3052; at < 3058; ++at) bytes[at] = static_cast<char>(bytes[at] ^ 0x5A);
  write_atomically(folder / "concealed.mp4", bytes);
  EXPECT_ERROR(read_clip(folder / "concealed.mp4", {.start_s = 0, .fps = 25, .frames = 24}), Error, "concealed.mp4",
               "picture at", "damaged");
  // A later start behind the hole: those pictures are predicted from it. Behind the next key picture all is well.
  EXPECT_ERROR(read_clip(folder / "concealed.mp4", {.start_s = 0.28, .fps = 25, .frames = 4}), Error, "concealed.mp4",
               "picture at", "damaged");
  EXPECT_EQ(read_clip(folder / "concealed.mp4", {.start_s = 0.5, .fps = 25, .frames = 9}).size(0), 9);
}

TEST(ReadClip, FileNamesAreNotUrls) {
  const TemporaryFolder folder;
  const auto odd = folder / "http:%02d é.mp4";
  std::filesystem::copy_file(media_file("plain.mp4"), odd);
  EXPECT_EQ(probe_video(odd).frames, 24);
}

}  // namespace
}  // namespace jointtuner::media
