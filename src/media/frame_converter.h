// From a decoded frame to RGB pixels as they are meant to be seen.
#pragma once
#include <opencv2/core.hpp>

#include "jointtuner/media/fit.h"
#include "video_stream.h"

namespace jointtuner::media {

/// How the pixels have to be turned: transpose first, then the flips.
struct Orientation {
  bool transpose = false;
  bool flip_horizontally = false;
  bool flip_vertically = false;
};

/// The nearest of the eight orientations that keep the axes, of a display matrix (9 int32, libavutil/display.h); null:
/// as stored.
Orientation orientation_of(const int32_t* display_matrix);
/// The clockwise turn of an orientation, mirroring left aside.
int64_t clockwise_degrees(Orientation orientation);

class FrameConverter {
 public:
  explicit FrameConverter(const VideoStream& stream);

  /// CV_8UC3 RGB, turned and with square pixels; valid until the next call.
  cv::Mat rgb(const AVFrame& frame);
  Orientation orientation(const AVFrame& frame) const;

 private:
  cv::Mat stored_rgb(const AVFrame& frame);
  const VideoStream& stream_;
  libav::ScalerPtr scaler_;
  cv::Mat padded_, turned_, square_;
};

}  // namespace jointtuner::media
