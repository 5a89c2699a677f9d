#include "jointtuner/backbone/autoencoder.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include "jointtuner/base/safetensors.h"
#include "support/counting_allocator.h"
#include "support/expect_error.h"
#include "support/nano_bundle.h"

namespace jointtuner::backbone {
namespace {

using testing::golden;
using testing::golden_bundle;

/// Largest difference relative to the largest value. The Python side ran the same operators; what remains is the order
/// of sums, which differs with threads and batch sizes.
double difference(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(found.sizes(), expected.sizes());
  return (found.sub(expected).abs().max().item<double>()) / expected.abs().max().item<double>();
}
constexpr double kRounding = 2e-6;

class AutoencoderTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }  // on tensors this small, a second thread only costs

  Autoencoder make(AutoencoderOptions options = {}) const { return Autoencoder(bundle_, at::kCPU, options); }
  const Tensor& value(const char* name) const { return golden_.at(name); }

  const Bundle bundle_ = Bundle::open(golden_bundle("nano_bundle"));
  const Safetensors golden_ = load_safetensors(golden("backbone/autoencoder.safetensors"));
};

TEST_F(AutoencoderTest, EncodeEqualsDiffusersForEverySliceSize) {
  for (const int64_t slice : {1, 2, 100}) {
    const Posterior posterior = make({.slice_frames = slice}).encode(value("pixels"));
    EXPECT_LT(difference(posterior.mean, value("mean")), kRounding) << slice;
    EXPECT_LT(difference(posterior.std, value("std")), kRounding) << slice;
    EXPECT_FALSE(posterior.mean.requires_grad());
  }
}

TEST_F(AutoencoderTest, DecodeEqualsDiffusersForEverySliceSize) {
  for (const int64_t slice : {1, 2, 100}) {
    const Tensor pixels = make({.slice_frames = slice}).decode(value("latents"));
    EXPECT_LT(difference(pixels, value("decoded")), kRounding) << slice;
    EXPECT_FALSE(pixels.requires_grad() || pixels.is_inference());
  }
}

TEST_F(AutoencoderTest, TiledDecodeEqualsDiffusers) {
  const AutoencoderOptions options{.slice_frames = 2, .tile_px = std::stoll(golden_.metadata.at("tile_px"))};
  EXPECT_LT(difference(make(options).decode(value("latents")), value("tiled")), kRounding);
  EXPECT_GT(difference(value("tiled"), value("decoded")), 1e-4);  // else the tiles prove nothing
  EXPECT_LT(difference(make({.tile_px = 64}).decode(value("latents")), value("decoded")), kRounding);  // fits one tile
}

TEST_F(AutoencoderTest, TiledEncodeEqualsDiffusers) {
  const int64_t tile_px = std::stoll(golden_.metadata.at("tile_px"));
  const Posterior tiled = make({.slice_frames = 1, .encode_tile_px = tile_px}).encode(value("wide"));
  EXPECT_LT(difference(tiled.mean, value("tiled_mean")), kRounding);
  EXPECT_LT(difference(tiled.std, value("tiled_std")), kRounding);
  EXPECT_GT(difference(make().encode(value("wide")).mean, value("tiled_mean")), 1e-4);  // else the tiles prove nothing
}

/// The tile * overlap products here are no whole numbers: diffusers would give frames of a wrong size.
TEST_F(AutoencoderTest, TilesOfAnySizeGiveWholeFrames) {
  for (const int64_t tile : {10, 12, 14, 18}) {
    const Tensor pixels = make({.tile_px = tile}).decode(value("latents"));
    EXPECT_EQ(pixels.sizes(), value("decoded").sizes()) << tile;
    EXPECT_LT(difference(pixels, value("decoded")), 1) << tile;  // seams differ, the picture is the same
    EXPECT_EQ(make({.encode_tile_px = tile}).encode(value("wide")).mean.sizes(), value("tiled_mean").sizes()) << tile;
  }
}

TEST_F(AutoencoderTest, BytesAreRoundedPixels) {
  const Tensor expected = value("decoded").div(2).add(0.5).clamp(0, 1).mul(255).round().permute({0, 2, 3, 4, 1});
  const Tensor bytes = make().decode_to_bytes(value("latents"));
  EXPECT_EQ(bytes.scalar_type(), at::kByte);
  EXPECT_EQ(bytes.sizes(), expected.sizes());
  EXPECT_LE(bytes.to(at::kFloat).sub(expected).abs().max().item<double>(), 1);
  EXPECT_LT(bytes.to(at::kFloat).sub(expected).abs().mean().item<double>(), 1e-3);
}

TEST_F(AutoencoderTest, MemoryDoesNotGrowWithTheClip) {
  const Autoencoder autoencoder = make();
  testing::CountingAllocator memory;
  std::vector<int64_t> decoding, encoding;
  for (const int64_t frames : {9, 9, 17, 49}) {  // twice the first: it also makes what is made once
    const Tensor latents = at::zeros({1, 4, frames, 11, 9}), clip = at::zeros({frames, 3, 22, 18});
    memory.reset();
    const int64_t bytes = static_cast<int64_t>(autoencoder.decode_to_bytes(latents).nbytes());
    decoding.push_back(memory.peak() - bytes);
    memory.reset();
    const Posterior posterior = autoencoder.encode(clip);
    encoding.push_back(memory.peak() - static_cast<int64_t>(2 * posterior.mean.nbytes()));
  }
  // Slices are of 4, 4, 1 and 4, ..., 4, 1 frames: the same largest one.
  EXPECT_EQ(decoding[2], decoding[1]);
  EXPECT_EQ(decoding[3], decoding[1]);
  EXPECT_EQ(encoding[2], encoding[1]);
  EXPECT_EQ(encoding[3], encoding[1]);
}

TEST_F(AutoencoderTest, RunsRepeatBitForBit) {
  const Autoencoder autoencoder = make();
  const Tensor first = autoencoder.decode(value("latents"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(autoencoder.decode(value("latents")), first));
}

TEST_F(AutoencoderTest, WrongSizesAreRefused) {
  const Autoencoder autoencoder = make();
  EXPECT_ERROR(autoencoder.encode(at::zeros({1, 3, 7, 8})), Error, "[1, 3, 7, 8]", "multiples of 2");
  EXPECT_ERROR(autoencoder.encode(at::zeros({1, 4, 8, 8})), Error, "clip [F,3,H,W]");
  EXPECT_ERROR(autoencoder.decode(at::zeros({1, 3, 1, 8, 8})), Error, "latents [B,C,F,h,w]");
  EXPECT_ERROR(autoencoder.decode(at::zeros({1, 4, 0, 8, 8})), Error, "empty");
  EXPECT_ERROR(make({.slice_frames = 0}), Error, "slice_frames");
  EXPECT_ERROR(make({.tile_px = 4}), Error, "tile_px 4 is 2 latents", "larger tiles");
  EXPECT_ERROR(make({.encode_tile_px = 4}), Error, "encode_tile_px 4", "larger tiles");
}

}  // namespace
}  // namespace jointtuner::backbone
