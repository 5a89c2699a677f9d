#include "jointtuner/backbone/decode_within_memory.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <functional>
#include <new>

#include "support/counting_allocator.h"
#include "support/expect_error.h"
#include "support/nano_bundle.h"

namespace jointtuner::backbone {
namespace {

using testing::CountingAllocator;
using testing::golden_bundle;

void fail_as_libtorch() {
  TORCH_CHECK(false,
              "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
              "to allocate 9 bytes. Error code 12 (Cannot allocate memory)");
}

class DecodeWithinMemoryTest : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }  // on tensors this small, a second thread only costs

  /// Latents of 12 x 18: tiles halve as 18 (whole), 9, 4.
  Tensor latents() const {
    const int64_t channels = bundle_.manifest().latents.channels;
    return at::arange(channels * 3 * 12 * 18)
        .remainder_(29)
        .to(at::kFloat)
        .div_(14)
        .sub_(1)
        .view({1, channels, 3, 12, 18});
  }
  int64_t tile(int64_t in_latents) const { return in_latents * bundle_.manifest().latents.spatial_compression; }

  /// Bytes needed for a decode within `options`.
  int64_t needed(const AutoencoderOptions& options) const {
    const Tensor z = latents();
    autoencoder_.decode_to_bytes(z, options);  // makes what is made once
    CountingAllocator memory;
    autoencoder_.decode_to_bytes(z, options);
    return memory.peak();
  }

  /// Decodes with memory for `most` bytes; warnings go to `warnings`.
  DecodedClip decoded(int64_t most, const AutoencoderOptions& options = kWhole,
                      const std::function<void()>& fail = fail_as_libtorch, std::string* warnings = nullptr) const {
    const Tensor z = latents();
    CountingAllocator memory;
    memory.bound(most, fail);
    ::testing::internal::CaptureStderr();
    std::exception_ptr thrown;
    DecodedClip clip;
    try {
      clip = decode_within_memory(autoencoder_, z, options);
    } catch (...) {
      thrown = std::current_exception();
    }
    const std::string text = ::testing::internal::GetCapturedStderr();
    if (warnings) *warnings = text;
    if (thrown) std::rethrow_exception(thrown);
    return clip;
  }

  static constexpr AutoencoderOptions kWhole{.slice_frames = 1};

  const Bundle bundle_ = Bundle::open(golden_bundle(std::string(GetParam()) + "_bundle"));
  const Autoencoder autoencoder_{bundle_, at::kCPU, kWhole};
};

TEST_P(DecodeWithinMemoryTest, WithEnoughMemoryItIsDecodeToBytes) {
  std::string warnings;
  const DecodedClip clip = decoded(needed(kWhole), kWhole, fail_as_libtorch, &warnings);
  EXPECT_EQ(clip.options.tile_px, 0);
  EXPECT_TRUE(at::equal(clip.frames, autoencoder_.decode_to_bytes(latents())));
  EXPECT_EQ(warnings, "");
}

TEST_P(DecodeWithinMemoryTest, TilesHalveUntilTheyFit) {
  for (const int64_t side : {9, 4}) {
    const AutoencoderOptions tiles{.slice_frames = 1, .tile_px = tile(side)};
    std::string warnings;
    const DecodedClip clip = decoded(needed(tiles), kWhole, fail_as_libtorch, &warnings);
    EXPECT_EQ(clip.options.tile_px, tile(side));
    EXPECT_TRUE(at::equal(clip.frames, autoencoder_.decode_to_bytes(latents(), tiles))) << side;
    testing::expect_parts(
        warnings,
        {"ran out of memory in whole frames", fmt::format("trying again in tiles of {0} x {0} pixels", tile(9)),
         fmt::format("trying again in tiles of {0} x {0} pixels", tile(side)), "can't allocate memory"});
  }
}

TEST_P(DecodeWithinMemoryTest, StartsWithTheTilesItIsGiven) {
  const AutoencoderOptions tiles{.slice_frames = 1, .tile_px = tile(9)};
  EXPECT_EQ(decoded(1L << 40, tiles).options.tile_px, tile(9));
  EXPECT_EQ(decoded(needed({.slice_frames = 1, .tile_px = tile(4)}), tiles).options.tile_px, tile(4));
  // Larger than the frame: the frame's own size is halved, not the tile's.
  EXPECT_EQ(decoded(needed({.slice_frames = 1, .tile_px = tile(9)}), {.slice_frames = 1, .tile_px = tile(100)})
                .options.tile_px,
            tile(9));
}

TEST_P(DecodeWithinMemoryTest, EveryWayOfRunningOutOfMemoryCounts) {
  const AutoencoderOptions tiles{.slice_frames = 1, .tile_px = tile(9)};
  const int64_t most = needed(tiles);
  const std::vector<std::function<void()>> ways{
      [] { throw std::bad_alloc(); },
      [] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate 2.00 GiB."); },
      fail_as_libtorch};
  for (const auto& fail : ways) EXPECT_EQ(decoded(most, kWhole, fail).options.tile_px, tile(9));
}

TEST_P(DecodeWithinMemoryTest, WhereNothingFitsTheErrorSaysWhatToDo) {
  EXPECT_ERROR(decoded(1000), OutOfMemory, "ran out of memory in tiles of", fmt::format("{0} x {0} pixels", tile(4)),
               "on cpu", "jointtuner decode", "can't allocate memory");
}

TEST_P(DecodeWithinMemoryTest, OtherErrorsPassThrough) {
  const std::function<void()> other = [] { TORCH_CHECK(false, "another trouble"); };
  std::string warnings;
  try {
    decoded(1000, kWhole, other, &warnings);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const OutOfMemory& error) {
    ADD_FAILURE() << error.what();
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("another trouble"));
  }
  EXPECT_EQ(warnings, "");
  EXPECT_ERROR(decode_within_memory(autoencoder_, at::zeros({1, 9, 1, 8, 8}), kWhole), Error, "latents [B,C,F,h,w]");
}

INSTANTIATE_TEST_SUITE_P(Bundles, DecodeWithinMemoryTest, ::testing::Values("nano", "nano_2b"));

/// Single frames come before tiles where they help: the picture is the same.
TEST(DecodeWithinMemory, AFrameAtATimeComesFirst) {
  at::set_num_threads(1);
  const Autoencoder autoencoder(Bundle::open(golden_bundle("nano_bundle")), at::kCPU);
  const Tensor z = at::linspace(-2, 2, 4 * 3 * 24 * 36).view({1, 4, 3, 24, 36});
  const Tensor expected = autoencoder.decode_to_bytes(z, {.slice_frames = 1});
  CountingAllocator memory;
  autoencoder.decode_to_bytes(z, {.slice_frames = 1});
  const int64_t single = memory.peak();
  memory.reset();
  memory.bound(single, fail_as_libtorch);
  ::testing::internal::CaptureStderr();
  const DecodedClip clip = decode_within_memory(autoencoder, z, {.slice_frames = 4});
  testing::expect_parts(::testing::internal::GetCapturedStderr(),
                        {"in whole frames, 4 frames at a time; trying again in whole frames, 1 frame at a time"});
  EXPECT_EQ(clip.options.slice_frames, 1);
  EXPECT_EQ(clip.options.tile_px, 0);
  EXPECT_EQ(memory.failures(), 1);
  EXPECT_TRUE(at::equal(clip.frames, expected));
}

}  // namespace
}  // namespace jointtuner::backbone
