#include "frames.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::media {

void check_frames(const at::Tensor& frames, int64_t dims, std::string_view what) {
  const char* expected = dims == 3 ? "[H,W,3]" : "[F,H,W,3]";
  if (!frames.defined()) throw Error(fmt::format("{}: expected uint8 {}, found an undefined tensor", what, expected));
  if (frames.scalar_type() != at::kByte || !frames.device().is_cpu() || frames.dim() != dims || frames.size(-1) != 3 ||
      frames.numel() == 0) {
    throw Error(fmt::format("{}: expected uint8 {} on the CPU, found {} {} on {}", what, expected,
                            c10::toString(frames.scalar_type()), shape_text(frames.sizes()), frames.device().str()));
  }
}

at::Tensor as_video(const at::Tensor& frames, std::string_view what) {
  const bool picture = frames.defined() && frames.dim() == 3;
  check_frames(frames, picture ? 3 : 4, what);
  return (picture ? frames.unsqueeze(0) : frames).contiguous();
}

cv::Mat mat_view(const at::Tensor& image) {
  return {static_cast<int>(image.size(0)), static_cast<int>(image.size(1)), CV_8UC3, image.data_ptr<uint8_t>()};
}

at::Tensor tensor_of(const cv::Mat& rgb) {
  at::Tensor image = at::empty({rgb.rows, rgb.cols, 3}, at::kByte);
  rgb.copyTo(mat_view(image));
  return image;
}

}  // namespace jointtuner::media
