#include "frame_converter.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
}
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "fit_mat.h"
#include "jointtuner/base/error.h"
#include "libav_versions.h"

namespace jointtuner::media {
namespace {

const int32_t* display_matrix(const AVStream& stream, const AVFrame& frame) {
  if (const int32_t* stated = libav::display_matrix(stream)) return stated;
  const AVFrameSideData* side = av_frame_get_side_data(&frame, AV_FRAME_DATA_DISPLAYMATRIX);
  const bool is_whole = side != nullptr && static_cast<size_t>(side->size) >= 9 * sizeof(int32_t);
  return is_whole ? reinterpret_cast<const int32_t*>(side->data) : nullptr;
}

/// Formats that are full range by name, whatever the frame says.
bool is_full_range(const AVFrame& frame) {
  switch (frame.format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ411P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ444P:
      return true;
    default:
      return frame.color_range == AVCOL_RANGE_JPEG;
  }
}

/// Size with square pixels: the side that the pixels stretch grows.
cv::Size square_size(cv::Size stored, AVRational pixel_aspect) {
  const double aspect = pixel_aspect.num > 0 && pixel_aspect.den > 0 ? av_q2d(pixel_aspect) : 1;
  if (aspect < 0.1 || aspect > 10) return stored;  // nonsense, as some cameras write
  return aspect >= 1 ? cv::Size(static_cast<int>(std::lround(stored.width * aspect)), stored.height)
                     : cv::Size(stored.width, static_cast<int>(std::lround(stored.height / aspect)));
}

}  // namespace

Orientation orientation_of(const int32_t* display_matrix) {
  if (display_matrix == nullptr) return {};
  // (x, y) -> (a x + c y, b x + d y)
  const int64_t a = display_matrix[0], b = display_matrix[1], c = display_matrix[3], d = display_matrix[4];
  const bool transpose = std::abs(a) < std::abs(c);
  return {transpose, transpose ? c < 0 : a < 0, transpose ? b < 0 : d < 0};
}

int64_t clockwise_degrees(Orientation orientation) {
  if (orientation.transpose) return orientation.flip_horizontally ? 90 : 270;
  return orientation.flip_horizontally && orientation.flip_vertically ? 180 : 0;
}

FrameConverter::FrameConverter(const VideoStream& stream) : stream_(stream) {}

Orientation FrameConverter::orientation(const AVFrame& frame) const {
  return orientation_of(display_matrix(stream_.stream(), frame));
}

cv::Mat FrameConverter::stored_rgb(const AVFrame& frame) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const char* name = av_get_pix_fmt_name(format);
  scaler_.reset(sws_getCachedContext(scaler_.release(), frame.width, frame.height, format, frame.width, frame.height,
                                     AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr));
  if (!scaler_)
    throw Error(fmt::format("{}: its pixel format {} ({}x{}) cannot be converted to RGB; re-encode it as yuv420p",
                            stream_.path().string(), name == nullptr ? "?" : name, frame.width, frame.height));
  constexpr int kUnit = 1 << 16;  // neutral contrast and saturation
  // Refused for formats that carry no YUV: they need none of it.
  sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(frame.colorspace), is_full_range(frame) ? 1 : 0,
                           sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, kUnit, kUnit);
  // The fast converters write whole vectors: leave them room behind each row.
  padded_.create(frame.height, (frame.width * 3 + 127) / 64 * 64, CV_8UC1);
  uint8_t* planes[] = {padded_.data};
  const int strides[] = {static_cast<int>(padded_.step)};
  libav::checked(sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, planes, strides), stream_.path(),
                 "convert its pixels to RGB");
  return {frame.height, frame.width, CV_8UC3, padded_.data, padded_.step};
}

cv::Mat FrameConverter::rgb(const AVFrame& frame) {
  cv::Mat image = stored_rgb(frame);
  const AVRational aspect =
      av_guess_sample_aspect_ratio(const_cast<AVFormatContext*>(&stream_.container()),
                                   const_cast<AVStream*>(&stream_.stream()), const_cast<AVFrame*>(&frame));
  if (const cv::Size square = square_size(image.size(), aspect); square != image.size()) {
    square_.create(square, CV_8UC3);
    fit_mat(image, square_, Fit::stretch);
    image = square_;
  }
  const Orientation turn = orientation(frame);
  if (turn.transpose) {
    cv::transpose(image, turned_);
    image = turned_;
  }
  if (turn.flip_horizontally || turn.flip_vertically) {
    const int both = -1, horizontal = 1, vertical = 0;
    cv::flip(image, turned_, !turn.flip_vertically ? horizontal : (turn.flip_horizontally ? both : vertical));
    image = turned_;
  }
  return image;
}

}  // namespace jointtuner::media
