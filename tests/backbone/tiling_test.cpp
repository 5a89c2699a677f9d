#include "jointtuner/backbone/tiling.h"

#include <ATen/Functions.h>

#include "support/expect_error.h"

namespace jointtuner::backbone {
namespace {

using at::Tensor;

/// Tiles that a tiling asks for, as "y,x height x width".
std::vector<std::string> tiles_of(const Tiling& tiling) {
  std::vector<std::string> found;
  tiling.blended(1, [&](size_t index, const Tile& t) {
    EXPECT_EQ(index, found.size());
    found.push_back(std::to_string(t.y) + "," + std::to_string(t.x) + " " + std::to_string(t.height) + "x" +
                    std::to_string(t.width));
    return at::zeros({t.height, t.width});
  });
  return found;
}

TEST(Tiling, WholeFramesAreOneTile) {
  EXPECT_EQ(tiles_of({5, 7, 0, 0.25}), (std::vector<std::string>{"0,0 5x7"}));
  EXPECT_EQ(tiles_of({5, 7, 7, 0.25}), (std::vector<std::string>{"0,0 5x7"}));
}

/// A side that fits into a tile is still walked step by step when the other does not, as in diffusers.
TEST(Tiling, TilesStartEveryStepAndEndAtTheBorder) {
  EXPECT_EQ(tiles_of({4, 9, 4, 0.25}),
            (std::vector<std::string>{"0,0 4x4", "0,3 4x4", "0,6 4x3", "3,0 1x4", "3,3 1x4", "3,6 1x3"}));
}

/// One row: tile 4, step 3, so the overlap is one latent = two pixels, with weights 0 and 1/2. Tiles hold 10, 20, 40.
TEST(Tiling, NeighboursFadeLinearly) {
  const Tiling tiling(1, 8, 4, 0.25);
  ASSERT_EQ(tiling.count(), 3);
  const Tensor frame = tiling.blended(2, [](size_t index, const Tile& t) {
    return at::full({2 * t.height, 2 * t.width}, std::vector{10, 20, 40}[index], at::kFloat);
  });
  const Tensor expected = at::tensor({10, 10, 10, 10, 10, 10, 10, 15, 20, 20, 20, 20, 20, 30, 40, 40}, at::kFloat);
  EXPECT_TRUE(at::equal(frame[0], expected)) << frame;
  EXPECT_TRUE(at::equal(frame[1], expected)) << frame;
}

/// What tiles agree on is what the frame holds, whatever the sizes and the number of dimensions in front.
TEST(Tiling, TilesCutOutOfAFrameGiveTheFrameBack) {
  for (const int64_t tile : {4, 5, 6, 7, 8, 9}) {
    for (const double overlap : {0.0, 0.25, 0.5, 0.75}) {
      for (const int64_t factor : {1, 4}) {
        const Tensor frame = at::arange(2 * 9 * 13 * factor * factor, at::kFloat).view({1, 2, 9 * factor, 13 * factor});
        const Tensor found = Tiling(9, 13, tile, overlap).blended(factor, [&](size_t, const Tile& t) {
          return frame.narrow(2, t.y * factor, t.height * factor).narrow(3, t.x * factor, t.width * factor).clone();
        });
        EXPECT_TRUE(at::allclose(found, frame, 1e-6)) << tile << " " << overlap << " " << factor;
      }
    }
  }
}

TEST(Tiling, TilesWithoutOverlapAreRefused) {
  EXPECT_EQ(tile_step(4, 0.25), 3);
  EXPECT_EQ(tile_step(4, 0), 4);
  EXPECT_EQ(tile_step(3, 0.25), 0);  // would overlap by less than a latent
  EXPECT_EQ(tile_step(2, 0.75), 0);  // would stay where it is
  EXPECT_ERROR(Tiling(9, 9, 3, 0.25), Error, "tiles 3 latents wide", "Choose larger tiles");
}

TEST(Tiling, ResultsOfAnotherSizeAreAnError) {
  EXPECT_ERROR(Tiling(9, 9, 4, 0.25).blended(2, [](size_t, const Tile&) { return at::zeros({8, 7}); }), Error,
               "expected 8 x 8", "[8, 7]");
}

}  // namespace
}  // namespace jointtuner::backbone
