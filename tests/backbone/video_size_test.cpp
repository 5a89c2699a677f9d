#include "jointtuner/backbone/video_size.h"

#include <ATen/Functions.h>

#include "support/expect_error.h"

namespace jointtuner::backbone {
namespace {

using Sizes = std::vector<int64_t>;

/// Frame by frame, halves of the side.
Manifest frame_by_frame() {
  Manifest manifest;
  manifest.latents.channels = 4;
  manifest.latents.spatial_compression = 2;
  return manifest;
}

/// CogVideoX's shape rules: an eighth of the side in patches of 2, a quarter of the frames, chunks of 8 and of 2.
Manifest causal() {
  Manifest manifest;
  manifest.latents = {16, 8, 4, 1.0};
  manifest.denoiser.height_multiple = 2;
  manifest.denoiser.width_multiple = 2;
  manifest.autoencoder.kind = "causal_3d";
  manifest.autoencoder.encode = {{1, 9}, 8};
  manifest.autoencoder.decode = {{1, 3}, 2};
  return manifest;
}

TEST(VideoSize, NearestSidesAreNamed) {
  EXPECT_ERROR(check_video_size(frame_by_frame(), {1, 13, 16}), UsageError, "height: 13 px", "multiples of 2",
               "use 12 or 14");
  EXPECT_ERROR(check_video_size(frame_by_frame(), {1, 16, 1}, "data."), UsageError, "data.width: 1 px", "use 2");
  EXPECT_ERROR(check_video_size(causal(), {1, 480, 729}), UsageError, "width: 729 px", "multiples of 16",
               "use 720 or 736");
  EXPECT_NO_THROW(check_video_size(causal(), {1, 480, 720}));
}

TEST(VideoSize, NearestFramesAreNamed) {
  for (const int64_t good : {1, 9, 17, 49}) EXPECT_NO_THROW(check_video_size(causal(), {good, 16, 16})) << good;
  EXPECT_ERROR(check_video_size(causal(), {16, 16, 16}, "data."), UsageError, "data.frames", "16 frames",
               "use 9 or 17");
  EXPECT_ERROR(check_video_size(causal(), {13, 16, 16}), UsageError, "use 9 or 17");  // no first chunk of 13
  EXPECT_ERROR(check_video_size(causal(), {0, 16, 16}), UsageError, "0 frames; use 1");
  Manifest decodes_less = causal();
  decodes_less.autoencoder.encode.first = {1, 5, 9, 13};
  EXPECT_ERROR(check_video_size(decodes_less, {13, 16, 16}), UsageError, "use 9 or 17");  // 4 latent frames: 2 + 2
  EXPECT_NO_THROW(check_video_size(frame_by_frame(), {13, 16, 16}));
}

TEST(VideoSize, SlicedPositionsLimitTheSides) {
  Manifest manifest = causal();
  manifest.denoiser.positional = Rope3d{64, 10000, 2, 2, "slice", 3, 4};  // patches: 48 x 64 px
  EXPECT_NO_THROW(check_video_size(manifest, {1, 48, 64}));
  EXPECT_ERROR(check_video_size(manifest, {1, 64, 64}), UsageError, "height: 64 px", "multiples of 16 up to 48",
               "use 48");
  EXPECT_ERROR(check_video_size(manifest, {1, 48, 100}), UsageError, "width: 100 px", "up to 64", "use 64");
  std::get<Rope3d>(manifest.denoiser.positional).grid = "resize";
  EXPECT_NO_THROW(check_video_size(manifest, {1, 64, 112}));
}

TEST(VideoSize, LatentsAndTheirPadding) {
  EXPECT_EQ(latents_shape(frame_by_frame(), {5, 10, 12}), (Sizes{1, 4, 5, 5, 6}));
  EXPECT_EQ(latents_shape(causal(), {49, 480, 720}), (Sizes{1, 16, 13, 60, 90}));
  Manifest padded = causal();
  padded.denoiser.frames_multiple = 2;
  EXPECT_EQ(latents_shape(padded, {49, 480, 720}), (Sizes{1, 16, 14, 60, 90}));
  EXPECT_EQ(latents_shape(padded, {1, 480, 720}), (Sizes{1, 16, 2, 60, 90}));
  EXPECT_EQ(latent_frames(padded.latents, 49), 13);
  EXPECT_EQ(video_frames(padded.latents, 13), 49);
}

TEST(VideoSize, PaddingRepeatsTheFirstFrameInFrontAndComesOffAgain) {
  const Tensor latents = at::arange(2 * 3 * 3, at::kFloat).view({2, 3, 3, 1, 1});
  const Tensor padded = padded_frames(latents, 2);
  ASSERT_EQ(padded.sizes(), (Sizes{2, 3, 4, 1, 1}));
  EXPECT_TRUE(padded.select(2, 0).equal(latents.select(2, 0)));
  EXPECT_TRUE(padded.select(2, 1).equal(latents.select(2, 0)));
  EXPECT_TRUE(padded.select(2, 3).equal(latents.select(2, 2)));
  EXPECT_TRUE(without_padding(padded, 3).equal(latents));
  EXPECT_TRUE(padded_frames(latents, 3).is_same(latents));
}

TEST(VideoSize, Chunks) {
  const ChunkRule encode{{1, 5, 9, 13}, 8};
  EXPECT_EQ(chunk_lengths(encode, 1), (Sizes{1}));
  EXPECT_EQ(chunk_lengths(encode, 9), (Sizes{9}));
  EXPECT_EQ(chunk_lengths(encode, 13), (Sizes{13}));
  EXPECT_EQ(chunk_lengths(encode, 49), (Sizes{9, 8, 8, 8, 8, 8}));
  EXPECT_EQ(chunk_lengths(encode, 21), (Sizes{13, 8}));
  EXPECT_EQ(chunk_lengths(encode, 8), (Sizes{}));
  EXPECT_EQ(chunk_lengths({{1, 3}, 2}, 13), (Sizes{3, 2, 2, 2, 2, 2}));
}

}  // namespace
}  // namespace jointtuner::backbone
