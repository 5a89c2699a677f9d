// The causal 3-D kind against AutoencoderKLCogVideoX of diffusers: goldens of tests/goldens/make/backbone.py.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/base/safetensors.h"
#include "support/counting_allocator.h"
#include "support/expect_error.h"
#include "support/nano_bundle.h"

namespace jointtuner::backbone {
namespace {

using testing::golden;
using testing::golden_bundle;

/// Largest difference relative to the largest value. The Python side ran the same operators on the same chunks; what
/// remains is the order of sums.
double difference(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(found.sizes(), expected.sizes());
  return (found.sub(expected).abs().max().item<double>()) / expected.abs().max().item<double>();
}
constexpr double kRounding = 2e-6;

/// formula() of tests/goldens/make/backbone.py.
Tensor formula(at::IntArrayRef shape) {
  const int64_t count = c10::multiply_integers(shape);
  return at::arange(count, at::kLong).mul_(7919).remainder_(2003).to(at::kFloat).div_(1001.5).sub_(1).view(shape);
}

class CausalAutoencoderTest : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }  // on tensors this small, a second thread only costs

  Autoencoder make(AutoencoderOptions options = {}) const { return Autoencoder(bundle_, at::kCPU, options); }
  const Tensor& value(const std::string& name) const { return golden_.at(name); }
  std::vector<int64_t> list(const char* name) const {
    return nlohmann::json::parse(golden_.metadata.at(name)).get<std::vector<int64_t>>();
  }
  int64_t tile_px() const { return std::stoll(golden_.metadata.at("tile_px")); }

  /// Sizes in latents.
  Tensor clip(int64_t frames, int64_t height = 5, int64_t width = 7) const {
    const int64_t factor = manifest().latents.spatial_compression;
    return formula({frames, 3, height * factor, width * factor});
  }
  Tensor latents(int64_t frames, int64_t height = 5, int64_t width = 7, int64_t batch = 1) const {
    return formula({batch, manifest().latents.channels, latent_frames(frames), height, width})
        .mul_(2)
        .mul_(manifest().latents.scaling_factor);
  }
  int64_t latent_frames(int64_t frames) const { return (frames - 1) / manifest().latents.temporal_compression + 1; }
  const Manifest& manifest() const { return bundle_.manifest(); }

  void expect_encoded(const Posterior& found, const std::string& name) const {
    EXPECT_LT(difference(found.mean, value(name + ".mean")), kRounding) << name;
    EXPECT_LT(difference(found.std, value(name + ".std")), kRounding) << name;
  }
  void expect_decoded(const Tensor& found, const std::string& name) const {
    const Tensor frames = found.squeeze(0).transpose(0, 1);  // [F,3,H,W]
    EXPECT_LT(difference(frames.flatten().slice(0, std::nullopt, std::nullopt, 37), value(name + ".pixels")), kRounding)
        << name;
    const Tensor sums = frames.to(at::kDouble).sum({2, 3});
    const auto pixels = static_cast<double>(frames.size(2) * frames.size(3));
    const double largest = value(name + ".pixels").abs().max().item<double>();
    EXPECT_EQ(sums.sizes(), value(name + ".sums").sizes());
    EXPECT_LT(sums.sub(value(name + ".sums")).abs().max().item<double>() / pixels / largest, kRounding) << name;
  }

  const Bundle bundle_ = Bundle::open(golden_bundle(std::string(GetParam()) + "_bundle"));
  const Safetensors golden_ =
      load_safetensors(golden(std::string("backbone/autoencoder_") + GetParam() + ".safetensors"));
};

TEST_P(CausalAutoencoderTest, EncodeEqualsDiffusers) {
  const Autoencoder autoencoder = make();
  for (const int64_t frames : list("frames")) expect_encoded(autoencoder.encode(clip(frames)), std::to_string(frames));
}

TEST_P(CausalAutoencoderTest, DecodeEqualsDiffusers) {
  const Autoencoder autoencoder = make();
  for (const int64_t frames : list("frames"))
    expect_decoded(autoencoder.decode(latents(frames)), std::to_string(frames));
}

TEST_P(CausalAutoencoderTest, TilesEqualDiffusers) {
  const Autoencoder tiled = make({.tile_px = tile_px(), .encode_tile_px = tile_px()});
  for (const int64_t frames : list("tiled_frames")) {
    expect_encoded(tiled.encode(clip(frames, 11, 9)), fmt::format("tiled.{}", frames));
    expect_decoded(tiled.decode(latents(frames, 11, 9)), fmt::format("tiled.{}", frames));
  }
  // Else the tiles prove nothing; and a frame that fits into a tile has none.
  EXPECT_GT(difference(make().encode(clip(9, 11, 9)).mean, value("tiled.9.mean")), 1e-4);
  expect_encoded(tiled.encode(clip(9)), "9");
  expect_decoded(tiled.decode(latents(9)), "9");
}

/// The tile * overlap products here are no whole numbers: diffusers would give frames of a wrong size.
TEST_P(CausalAutoencoderTest, TilesOfAnySizeGiveWholeFrames) {
  const int64_t factor = manifest().latents.spatial_compression;
  const Tensor z = latents(9, 11, 9), whole = make().decode(z);
  for (const int64_t tile : {5, 7}) {
    const Autoencoder autoencoder = make({.tile_px = tile * factor, .encode_tile_px = tile * factor});
    const Tensor pixels = autoencoder.decode(z);
    EXPECT_LT(difference(pixels, whole), 1) << tile;  // seams differ, the picture is the same
    EXPECT_EQ(autoencoder.encode(clip(9, 11, 9)).mean.sizes(), value("tiled.9.mean").sizes()) << tile;
  }
}

TEST_P(CausalAutoencoderTest, AClipIsDecodedAlikeInAnyBatch) {
  const Autoencoder autoencoder = make();
  const Tensor z = latents(17, 5, 7, 3), together = autoencoder.decode(z);
  for (int64_t b = 0; b < 3; ++b)
    EXPECT_TRUE(at::equal(together.narrow(0, b, 1), autoencoder.decode(z.narrow(0, b, 1)))) << b;
}

/// What comes later in a clip cannot be seen: the first chunk is the same, bit for bit, whatever follows.
TEST_P(CausalAutoencoderTest, AChunkDoesNotDependOnLaterOnes) {
  const Autoencoder autoencoder = make();
  const Tensor z = latents(49), pixels = autoencoder.decode(z);
  EXPECT_TRUE(at::equal(autoencoder.decode(z.narrow(2, 0, latent_frames(17))), pixels.narrow(2, 0, 17)));
  const Tensor mean = autoencoder.encode(clip(49)).mean;
  EXPECT_TRUE(at::equal(autoencoder.encode(clip(17)).mean, mean.narrow(0, 0, latent_frames(17))));
}

TEST_P(CausalAutoencoderTest, AnImageIsAClipOfOneFrame) {
  const Autoencoder autoencoder = make();
  EXPECT_EQ(autoencoder.encode(clip(1)).mean.size(0), 1);
  EXPECT_EQ(autoencoder.decode(latents(1)).size(2), 1);
  EXPECT_EQ(autoencoder.decode_to_bytes(latents(1)).size(1), 1);
}

TEST_P(CausalAutoencoderTest, SlicesHaveNoEffect) {
  const Autoencoder sliced = make({.slice_frames = 1}), plain = make();
  EXPECT_FALSE(plain.slices_frames());
  EXPECT_TRUE(at::equal(sliced.decode(latents(17)), plain.decode(latents(17))));
  EXPECT_TRUE(at::equal(sliced.encode(clip(17)).std, plain.encode(clip(17)).std));
}

TEST_P(CausalAutoencoderTest, BytesAreRoundedPixels) {
  const Tensor expected =
      make().decode(latents(17)).div(2).add(0.5).clamp(0, 1).mul(255).round().permute({0, 2, 3, 4, 1});
  EXPECT_TRUE(at::equal(make().decode_to_bytes(latents(17)).to(at::kFloat), expected));
}

/// Above the result. A clip of 9 frames is one chunk and has no caches; that of 17 frames has two, of which the last
/// hands on none, so that the frame's tiles are blended while fewer caches are there; from 25 frames on all is equal.
TEST_P(CausalAutoencoderTest, MemoryDoesNotGrowWithTheClip) {
  for (const int64_t tile : {int64_t{0}, tile_px()}) {
    const Autoencoder autoencoder = make({.tile_px = tile, .encode_tile_px = tile});
    testing::CountingAllocator memory;
    std::map<int64_t, int64_t> decoding, encoding;
    for (const int64_t frames : {17, 9, 17, 25, 49}) {  // 17 once before: it also makes what is made once
      const Tensor z = latents(frames, 11, 9), pixels = clip(frames, 11, 9);
      memory.reset();
      const auto bytes = static_cast<int64_t>(autoencoder.decode_to_bytes(z).nbytes());
      decoding[frames] = memory.peak() - bytes;
      memory.reset();
      const Posterior posterior = autoencoder.encode(pixels);
      encoding[frames] = memory.peak() - static_cast<int64_t>(2 * posterior.mean.nbytes());
    }
    for (auto* peak : {&decoding, &encoding}) {
      EXPECT_EQ(peak->at(49), peak->at(25)) << tile;
      EXPECT_NEAR(1, static_cast<double>(peak->at(49)) / static_cast<double>(peak->at(17)), 0.05) << tile;
      EXPECT_LE(peak->at(9), peak->at(17)) << tile;
    }
  }
}

TEST_P(CausalAutoencoderTest, ClipsThatCannotBeCutAreRefused) {
  const Autoencoder autoencoder = make();
  EXPECT_ERROR(autoencoder.encode(clip(16)), Error, "cannot encode a clip of 16 frames", "nearest", "17");
  EXPECT_ERROR(autoencoder.encode(clip(2)), Error, "cannot encode a clip of 2 frames", "nearest is 1 or ");
  EXPECT_ERROR(autoencoder.encode(clip(0)), Error, "multiples of");
}

TEST_P(CausalAutoencoderTest, WrongSizesAreRefused) {
  const int64_t channels = manifest().latents.channels, factor = manifest().latents.spatial_compression;
  const Autoencoder autoencoder = make();
  EXPECT_ERROR(autoencoder.encode(at::zeros({1, 3, factor, factor + 1})), Error,
               fmt::format("multiples of {}", factor));
  EXPECT_ERROR(autoencoder.decode(at::zeros({1, channels + 1, 1, 8, 8})), Error, "latents [B,C,F,h,w]");
  EXPECT_ERROR(autoencoder.decode(at::zeros({1, channels, 0, 8, 8})), Error, "empty");
}

INSTANTIATE_TEST_SUITE_P(Bundles, CausalAutoencoderTest, ::testing::Values("nano_2b", "nano_5b"));

}  // namespace
}  // namespace jointtuner::backbone
