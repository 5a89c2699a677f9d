// One opened video file: its packets, and its frames in order of presentation.
#pragma once
#include <filesystem>
#include <optional>

#include "libav.h"

namespace jointtuner::media {

class VideoStream {
 public:
  // Opens the file and picks its best video stream. Throws Error as probe_video documents.
  explicit VideoStream(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  const AVFormatContext& container() const { return *input_; }
  const AVStream& stream() const { return *stream_; }

  /// The next packet of the video stream, null at the end. Throws Error when the file is damaged or cut off.
  libav::PacketPtr next_packet();

 private:
  std::filesystem::path path_;
  libav::InputPtr input_;
  const AVStream* stream_ = nullptr;
  const AVCodec* decoder_ = nullptr;
  friend class FrameDecoder;
};

/// Decodes packets of a stream. Frames come out in order of presentation.
class FrameDecoder {
 public:
  explicit FrameDecoder(const VideoStream& stream);

  /// Feeds one packet; null means that there are no more. `wanted` false lets the decoder leave out a frame that no
  /// other refers to.
  void send(const AVPacket* packet, bool wanted = true);
  /// The next finished frame, valid until the next call; null when the decoder needs another packet, or after the last
  /// frame.
  const AVFrame* receive();

 private:
  [[noreturn]] void fail(int code) const;
  const VideoStream& stream_;
  libav::CodecPtr codec_;
  libav::FramePtr frame_;
  double reached_s_ = 0;  ///< stamp of the last packet sent, for messages
};

/// Whether the decoder had to invent parts of this frame.
bool is_damaged(const AVFrame& frame);

}  // namespace jointtuner::media
