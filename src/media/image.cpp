#include "jointtuner/media/image.h"

#include <fmt/format.h>

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "frames.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jpeg_end.h"
#include "media_file.h"

namespace jointtuner::media {
namespace fs = std::filesystem;
namespace {

cv::Mat decoded(std::string& bytes, int flags, const fs::path& path) {
  const cv::Mat buffer(1, static_cast<int>(bytes.size()), CV_8UC1, bytes.data());
  cv::Mat image;
  try {
    image = cv::imdecode(buffer, flags);
  } catch (const cv::Exception& exception) {
    throw Error(fmt::format("{}: not a picture that OpenCV can decode: {}", path.string(), exception.err));
  }
  if (image.empty())
    throw Error(fmt::format(
        "{}: expected a picture (JPEG, PNG, WebP, TIFF, BMP, ...), found nothing that OpenCV can decode: it begins "
        "with {} and is cut off, damaged or of another kind; save it again as PNG or JPEG",
        path.string(), beginning(bytes)));
  return image;
}

/// The factor that brings a depth's white to 1.
double unit_scale(int depth, const fs::path& path) {
  switch (depth) {
    case CV_8U:
      return 1.0 / 255;
    case CV_16U:
      return 1.0 / 65535;
    case CV_32F:
    case CV_64F:
      return 1.0;
    default:
      throw Error(fmt::format("{}: expected a picture of 8 or 16 bit or floating point, found {}; save it as 8-bit PNG",
                              path.string(), cv::typeToString(depth)));
  }
}

/// round(255 (c a + 1 - a)) of BGRA.
cv::Mat over_white(const cv::Mat& bgra, const fs::path& path) {
  cv::Mat unit;
  bgra.convertTo(unit, CV_32F, unit_scale(bgra.depth(), path));
  cv::Mat bgr(bgra.size(), CV_8UC3);
  for (int row = 0; row < unit.rows; ++row) {
    const auto* from = unit.ptr<cv::Vec4f>(row);
    auto* to = bgr.ptr<cv::Vec3b>(row);
    for (int column = 0; column < unit.cols; ++column) {
      const float alpha = from[column][3];
      for (int channel = 0; channel < 3; ++channel)
        to[column][channel] = cv::saturate_cast<uint8_t>(255.0F * (from[column][channel] * alpha + 1.0F - alpha));
    }
  }
  return bgr;
}

}  // namespace

Tensor read_image(const fs::path& path) {
  check_media_file(path, "a picture");
  std::string bytes = read_file(path);
  if (is_jpeg(bytes) && !has_jpeg_end(bytes))
    throw Error(fmt::format("{}: this JPEG is cut off after {} bytes (it has no end marker); copy or export it again",
                            path.string(), bytes.size()));
  cv::Mat bgr;
  if (!is_jpeg(bytes)) {  // only an unchanged decode tells whether there is an alpha channel, and it does not turn the
                          // picture
    const cv::Mat unchanged = decoded(bytes, cv::IMREAD_UNCHANGED, path);
    if (unchanged.channels() == 4) bgr = over_white(unchanged, path);
  }
  if (bgr.empty()) {
    const cv::Mat image = decoded(bytes, cv::IMREAD_COLOR | cv::IMREAD_ANYDEPTH, path);
    image.convertTo(bgr, CV_8U, 255 * unit_scale(image.depth(), path));
  }
  cv::Mat rgb;
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  return tensor_of(rgb);
}

std::string png_bytes(const Tensor& image) {
  check_frames(image, 3, "png_bytes");
  const Tensor rgb = image.contiguous();
  cv::Mat bgr;
  cv::cvtColor(mat_view(rgb), bgr, cv::COLOR_RGB2BGR);
  std::vector<uint8_t> bytes;
  if (!cv::imencode(".png", bgr, bytes, {cv::IMWRITE_PNG_COMPRESSION, 6}))
    throw Error("png_bytes: this build of OpenCV cannot write PNG; install libopencv-imgcodecs with libpng");
  return {bytes.begin(), bytes.end()};
}

void write_png(const fs::path& path, const Tensor& image) { write_atomically(path, png_bytes(image)); }

}  // namespace jointtuner::media
