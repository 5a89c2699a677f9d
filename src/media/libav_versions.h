// What FFmpeg's releases from 4.4 to 8 spell differently, under one name each: no other source asks for a version.
#pragma once
#include <cstdint>

#include "libav.h"

namespace jointtuner::media::libav {

/// The container's best video stream and, in `decoder`, what decodes it; a negative code of libav when there is none.
int best_video_stream(AVFormatContext& container, const AVCodec*& decoder);

/// How long the frame is shown, in its stream's time base; 0 = unknown.
int64_t duration(const AVFrame& frame);

/// The nine numbers by which the container turns pictures for display; null when it has none.
const int32_t* display_matrix(const AVStream& stream);

}  // namespace jointtuner::media::libav
