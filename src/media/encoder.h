// Frames in, the bytes of a video file out; shared by the mp4 and the GIF writer.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "libav.h"

namespace jointtuner::media {

class VideoEncoder {
 public:
  // muxer and encoder by libav's names. `path` is for messages only. Throws Error when this libav lacks one of them.
  VideoEncoder(std::filesystem::path path, const char* muxer, const char* encoder);

  /// To be set up before open(): size, pixel format, time base, options.
  AVCodecContext& codec() { return *codec_; }
  /// Options of the encoder; throws Error for one it does not know.
  void option(const char* name, const char* value);

  void open();
  /// One frame, its stamp in codec().time_base; shown until `end`.
  void add(AVFrame& frame, int64_t stamp, int64_t end);
  /// The finished file.
  std::string bytes();

 private:
  void write_finished_packets();
  std::filesystem::path path_;
  libav::OutputPtr output_;
  libav::CodecPtr codec_;
  libav::PacketPtr packet_;
  AVStream* stream_ = nullptr;
  std::vector<std::pair<int64_t, int64_t>> ends_;  ///< stamp, end of each frame
};

}  // namespace jointtuner::media
