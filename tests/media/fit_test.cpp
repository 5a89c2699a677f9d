#include "jointtuner/media/fit.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace jointtuner::media {
namespace {

Tensor ramp(int64_t height, int64_t width) {
  const Tensor column = at::arange(width).mul(3).remainder(251);
  const Tensor row = at::arange(height).mul(5).remainder(241).unsqueeze(1);
  return at::stack({column.expand({height, width}), row.expand({height, width}), (row + column).remainder(256)}, 2)
      .to(at::kByte);
}

TEST(CropOf, WorkedByHand) {
  EXPECT_EQ(crop_of({720, 1280}, {384, 384}, Fit::cover), (Crop{0, 280, 720, 720}));
  EXPECT_EQ(crop_of({1280, 720}, {384, 384}, Fit::cover), (Crop{280, 0, 720, 720}));
  EXPECT_EQ(crop_of({272, 640}, {144, 256}, Fit::cover), (Crop{0, 78, 272, 484}));  // 272 * 16 / 9 = 483.6
  EXPECT_EQ(crop_of({300, 451}, {200, 300}, Fit::cover), (Crop{0, 0, 300, 450}));   // odd rest: less on the left
  EXPECT_EQ(crop_of({100, 1}, {8, 512}, Fit::cover), (Crop{49, 0, 1, 1}));
  EXPECT_EQ(crop_of({720, 1280}, {384, 384}, Fit::stretch), (Crop{0, 0, 720, 1280}));
}

TEST(FitFunction, SameSizeIsTheIdentity) {
  const Tensor image = ramp(9, 13);
  EXPECT_TRUE(at::equal(fit(image, 9, 13), image));
  EXPECT_TRUE(at::equal(fit(image, 9, 13, Fit::stretch), image));
}

TEST(FitFunction, HalvingTakesMeansOfFourPixels) {
  const Tensor image = at::tensor({10, 20, 30, 40, 50, 60, 70, 80}, at::kByte).view({2, 4, 1}).expand({2, 4, 3});
  const Tensor small = fit(image, 1, 2);
  EXPECT_TRUE(
      at::equal(small.select(2, 0), at::tensor({35, 55}, at::kByte).view({1, 2})));  // (10+20+50+60)/4, (30+40+70+80)/4
}

/// A checkerboard of single pixels must become grey: picking pixels (aliasing) would leave black or white.
TEST(FitFunction, ShrinkingDoesNotAlias) {
  const Tensor board = (at::arange(64).unsqueeze(1) + at::arange(64))
                           .remainder(2)
                           .mul(255)
                           .to(at::kByte)
                           .unsqueeze(2)
                           .expand({64, 64, 3});
  const Tensor small = fit(board, 16, 16).to(at::kFloat);
  EXPECT_NEAR(small.min().item<float>(), 127.5, 1);
  EXPECT_NEAR(small.max().item<float>(), 127.5, 1);
}

TEST(FitFunction, CoverEqualsStretchOfTheCrop) {
  const Tensor image = ramp(30, 70);
  for (const Size target : {Size{12, 12}, Size{40, 40}, Size{16, 9}, Size{30, 30}}) {
    const Crop crop = crop_of({30, 70}, target, Fit::cover);
    const Tensor part = image.narrow(0, crop.top_px, crop.height_px).narrow(1, crop.left_px, crop.width_px);
    EXPECT_TRUE(at::equal(fit(image, target), fit(part, target, Fit::stretch)));
  }
}

TEST(FitFunction, EnlargingKeepsFlatColourAndOrder) {
  const Tensor flat = at::full({3, 5, 3}, 77, at::kByte);
  EXPECT_TRUE(at::equal(fit(flat, 40, 50), at::full({40, 50, 3}, 77, at::kByte)));
  const Tensor large = fit(ramp(20, 20), 60, 60).select(2, 0).select(0, 30).to(at::kInt);
  EXPECT_TRUE((large.slice(0, 1) >= large.slice(0, 0, -1)).all().item<bool>());
}

/// One side grows and the other shrinks: both rules apply, each to its side.
TEST(FitFunction, MixedSides) {
  const Tensor stripes = at::arange(64).remainder(2).mul(255).to(at::kByte).view({1, 64, 1}).expand({8, 64, 3});
  const Tensor fitted = fit(stripes, 32, 16, Fit::stretch);
  EXPECT_EQ(fitted.sizes(), (std::vector<int64_t>{32, 16, 3}));
  EXPECT_NEAR(fitted.to(at::kFloat).mean().item<float>(), 127.5, 1);
  EXPECT_LE((fitted.to(at::kFloat) - 127.5).abs().max().item<float>(), 1);
}

TEST(FitFunction, VideosAreFittedFrameByFrame) {
  const Tensor video = at::stack({ramp(20, 30), ramp(20, 30).flip(1)});
  const Tensor fitted = fit(video, 8, 8);
  EXPECT_TRUE(at::equal(fitted[0], fit(video[0], 8, 8)));
  EXPECT_TRUE(at::equal(fitted[1], fit(video[1], 8, 8)));
}

TEST(FitFunction, NamesWhatIsWrong) {
  EXPECT_ERROR(fit(ramp(4, 4), 0, 4), Error, "0x4");
  EXPECT_ERROR(fit(ramp(4, 4).to(at::kFloat), 4, 4), Error, "uint8", "Float");
  EXPECT_ERROR(fit_from("crop"), UsageError, "crop", "cover or stretch");
  EXPECT_EQ(fit_from("cover"), Fit::cover);
  EXPECT_EQ(fit_from("stretch"), Fit::stretch);
}

}  // namespace
}  // namespace jointtuner::media
