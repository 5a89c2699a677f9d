#include "libav_versions.h"

namespace jointtuner::media::libav {
namespace {

struct SideData {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

SideData stored_display_matrix(const AVStream& stream) {
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)  // FFmpeg 6.1; 8 has no other
  const AVCodecParameters& stored = *stream.codecpar;
  const AVPacketSideData* found =
      av_packet_side_data_get(stored.coded_side_data, stored.nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return found == nullptr ? SideData{} : SideData{found->data, found->size};
#else
#if LIBAVFORMAT_VERSION_MAJOR >= 59  // FFmpeg 5
  size_t bytes = 0;
#else
  int bytes = 0;
#endif
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
  return data == nullptr ? SideData{} : SideData{data, static_cast<size_t>(bytes)};
#endif
}

}  // namespace

int best_video_stream(AVFormatContext& container, const AVCodec*& decoder) {
#if LIBAVFORMAT_VERSION_MAJOR >= 59  // FFmpeg 5
  const AVCodec* found = nullptr;
#else
  AVCodec* found = nullptr;
#endif
  const int index = av_find_best_stream(&container, AVMEDIA_TYPE_VIDEO, -1, -1, &found, 0);
  decoder = found;
  return index;
}

int64_t duration(const AVFrame& frame) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)  // FFmpeg 6; 7 has no other
  return frame.duration;
#else
  return frame.pkt_duration;
#endif
}

const int32_t* display_matrix(const AVStream& stream) {
  const SideData stored = stored_display_matrix(stream);
  return stored.bytes < 9 * sizeof(int32_t) ? nullptr : reinterpret_cast<const int32_t*>(stored.data);
}

}  // namespace jointtuner::media::libav
