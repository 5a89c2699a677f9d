#include "jointtuner/media/image.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "golden_media.h"
#include "jointtuner/base/atomic_file.h"
#include "support/expect_error.h"

namespace jointtuner::media {
namespace {

using testing::TemporaryFolder;

/// Lossless files: exactly PIL's pixels. Alpha is blended in integers there: 1 level.
TEST(ReadImage, LosslessFilesEqualPil) {
  for (const char* name : {"grey.png", "grey16.png", "picture.webp", "picture.bmp", "picture.tiff", "palette.png"})
    EXPECT_TRUE(at::equal(read_image(media_file(name)), expected().at(name))) << name;
  EXPECT_LE(difference(read_image(media_file("alpha.png")), expected().at("alpha.png")).largest, 1);
}

/// Two JPEG decoders differ by a few levels; a wrong turn differs by dozens (the red corner).
TEST(ReadImage, AppliesAllEightExifOrientations) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const std::string name = "exif_" + std::to_string(orientation) + ".jpg";
    const Tensor image = read_image(media_file(name));
    ASSERT_EQ(image.sizes(), expected().at(name).sizes()) << name;
    EXPECT_LE(difference(image, expected().at(name)).largest, 6) << name;
  }
}

TEST(ReadImage, WrittenPngComesBack) {
  const TemporaryFolder folder;
  const Tensor image = at::arange(5 * 7 * 3).mul(37).remainder(256).to(at::kByte).view({5, 7, 3});
  write_png(folder / "x.png", image);
  EXPECT_TRUE(at::equal(read_image(folder / "x.png"), image));
  const Tensor mirrored = image.flip(1);
  write_png(folder / "x.png", image.transpose(0, 1));
  EXPECT_TRUE(at::equal(read_image(folder / "x.png"), image.transpose(0, 1)));
  EXPECT_TRUE(png_bytes(mirrored) == png_bytes(mirrored.clone()));
}

TEST(ReadImage, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_ERROR(read_image(folder / "none.png"), Error, "none.png", "no such file");
  EXPECT_ERROR(read_image(folder.path()), Error, folder.path().string(), "found a folder");
  write_atomically(folder / "empty.png", "");
  EXPECT_ERROR(read_image(folder / "empty.png"), Error, "empty.png", "0 bytes");
  write_atomically(folder / "text.png", "hello, I am text\n");
  EXPECT_ERROR(read_image(folder / "text.png"), Error, "text.png", "'hello, I am text.'");
}

/// Every format, cut at many places, must be refused: OpenCV alone fills a cut JPEG with grey.
TEST(ReadImage, RefusesCutFiles) {
  const TemporaryFolder folder;
  for (const char* name : {"exif_1.jpg", "grey16.png", "alpha.png", "picture.webp", "picture.bmp", "picture.tiff"}) {
    const std::string bytes = read_file(media_file(name));
    for (const double part : {0.1, 0.5, 0.8, 0.95}) {
      const auto cut = folder / name;
      write_atomically(
          cut, std::string_view(bytes).substr(0, static_cast<size_t>(part * static_cast<double>(bytes.size()))));
      EXPECT_ERROR(read_image(cut), Error, name, "cut off");
    }
  }
}

TEST(ReadImage, BytesBehindAJpegDoNotMatter) {
  const TemporaryFolder folder;
  const std::string bytes = read_file(media_file("exif_1.jpg"));
  write_atomically(folder / "x.jpg", bytes + std::string("MotionPhoto_Data\xFF\x00\xFF", 19));
  EXPECT_TRUE(at::equal(read_image(folder / "x.jpg"), read_image(media_file("exif_1.jpg"))));
}

TEST(WritePng, RefusesWhatIsNoPicture) {
  EXPECT_ERROR(png_bytes(at::zeros({4, 4, 3})), Error, "uint8 [H,W,3]", "Float");
  EXPECT_ERROR(png_bytes(at::zeros({4, 4, 1}, at::kByte)), Error, "[4, 4, 1]");
  EXPECT_ERROR(png_bytes(Tensor()), Error, "undefined");
}

}  // namespace
}  // namespace jointtuner::media
