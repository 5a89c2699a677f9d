// Checks and views of uint8 RGB tensors, for this module's sources.
#pragma once
#include <ATen/core/Tensor.h>

#include <opencv2/core.hpp>
#include <string_view>

namespace jointtuner::media {

/// Throws Error naming `what` unless this is uint8 [H,W,3] (dims 3) or [F,H,W,3] (dims 4) on the CPU with no empty
/// dimension.
void check_frames(const at::Tensor& frames, int64_t dims, std::string_view what);

/// uint8 [F,H,W,3], contiguous, from that or from one picture [H,W,3].
at::Tensor as_video(const at::Tensor& frames, std::string_view what);

/// The pixels of contiguous uint8 [H,W,3], not copied.
cv::Mat mat_view(const at::Tensor& image);

/// A copy as uint8 [H,W,3].
at::Tensor tensor_of(const cv::Mat& rgb);

}  // namespace jointtuner::media
