#include "jointtuner/media/fit.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "fit_mat.h"
#include "frames.h"
#include "jointtuner/base/error.h"

namespace jointtuner::media {

Fit fit_from(std::string_view word) {
  if (word == "cover") return Fit::cover;
  if (word == "stretch") return Fit::stretch;
  throw UsageError(fmt::format("resize: expected cover or stretch, found '{}'", word));
}

namespace {

void check_target(Size target) {
  if (target.height_px < 1 || target.width_px < 1)
    throw Error(fmt::format("fit: expected a target of at least 1x1 pixels, found {}x{} (height x width)",
                            target.height_px, target.width_px));
}

/// side * numerator / denominator, rounded, within [1, limit].
int64_t scaled_side(int64_t side, int64_t numerator, int64_t denominator, int64_t limit) {
  const int64_t scaled = (2 * side * numerator + denominator) / (2 * denominator);
  return std::clamp<int64_t>(scaled, 1, limit);
}

}  // namespace

Crop crop_of(Size source, Size target, Fit fit) {
  check_target(target);
  if (fit == Fit::stretch) return {0, 0, source.height_px, source.width_px};
  const int64_t height = scaled_side(source.width_px, target.height_px, target.width_px, source.height_px);
  const int64_t width = scaled_side(source.height_px, target.width_px, target.height_px, source.width_px);
  return {(source.height_px - height) / 2, (source.width_px - width) / 2, height, width};
}

void fit_mat(const cv::Mat& source, cv::Mat target, Fit fit) {
  const Crop crop = crop_of({source.rows, source.cols}, {target.rows, target.cols}, fit);
  cv::Mat part = source(cv::Rect(static_cast<int>(crop.left_px), static_cast<int>(crop.top_px),
                                 static_cast<int>(crop.width_px), static_cast<int>(crop.height_px)));
  const cv::Size shrunk(std::min(part.cols, target.cols), std::min(part.rows, target.rows));
  if (shrunk == target.size() && shrunk != part.size()) {
    cv::resize(part, target, shrunk, 0, 0, cv::INTER_AREA);
    return;
  }
  if (shrunk != part.size()) {
    cv::Mat smaller;
    cv::resize(part, smaller, shrunk, 0, 0, cv::INTER_AREA);
    part = smaller;
  }
  if (part.size() == target.size())
    part.copyTo(target);
  else
    cv::resize(part, target, target.size(), 0, 0, cv::INTER_CUBIC);
}

Tensor fit(const Tensor& frames, Size target, Fit mode) {
  check_target(target);
  const Tensor video = as_video(frames, "fit");
  Tensor fitted = at::empty({video.size(0), target.height_px, target.width_px, 3}, at::kByte);
  for (int64_t frame = 0; frame < video.size(0); ++frame)
    fit_mat(mat_view(video.select(0, frame)), mat_view(fitted.select(0, frame)), mode);
  return frames.dim() == 3 ? fitted.squeeze(0) : fitted;
}

}  // namespace jointtuner::media
