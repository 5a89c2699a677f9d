#include "jointtuner/base/pixels.h"

#include <ATen/Functions.h>

#include "support/expect_error.h"

namespace jointtuner {
namespace {

using at::Tensor;

TEST(Pixels, OfBytesLieBetweenMinusOneAndOne) {
  const Tensor frames = at::tensor({0, 51, 255, 128, 1, 254}, at::kByte).view({1, 1, 2, 3});
  const Tensor pixels = to_pixels(frames);
  EXPECT_EQ(pixels.sizes(), (std::vector<int64_t>{1, 3, 1, 2}));
  EXPECT_EQ(pixels.scalar_type(), at::kFloat);
  EXPECT_TRUE(pixels.is_contiguous());
  EXPECT_FLOAT_EQ(pixels[0][0][0][0].item<float>(), -1.0F);
  EXPECT_FLOAT_EQ(pixels[0][1][0][0].item<float>(), -0.6F);
  EXPECT_FLOAT_EQ(pixels[0][2][0][0].item<float>(), 1.0F);
  EXPECT_ERROR(to_pixels(at::zeros({1, 3, 2, 2}, at::kByte)), Error, "to_pixels", "[1, 3, 2, 2]");
}

TEST(Pixels, BytesComeBackAndWhatIsOutOfRangeIsClamped) {
  const Tensor all = at::arange(256).to(at::kByte).view({256, 1, 1, 1}).expand({256, 2, 2, 3});
  EXPECT_TRUE(at::equal(to_bytes(to_pixels(all)), all));
  EXPECT_TRUE(at::equal(to_bytes(at::full({1, 3, 1, 1}, -1.5)), at::zeros({1, 1, 1, 3}, at::kByte)));
  EXPECT_TRUE(at::equal(to_bytes(at::full({1, 3, 1, 1}, 1.5)), at::full({1, 1, 1, 3}, 255, at::kByte)));
  EXPECT_ERROR(to_bytes(at::zeros({1, 4, 2, 2})), Error, "to_bytes", "[1, 4, 2, 2]");
}

}  // namespace
}  // namespace jointtuner
