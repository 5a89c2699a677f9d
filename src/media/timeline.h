// When each frame of a video is shown.
#pragma once
#include <cstdint>
#include <vector>

#include "jointtuner/media/video_reader.h"
#include "video_stream.h"

namespace jointtuner::media {

/// Stamps of containers that count in milliseconds are off by up to half of one.
inline constexpr double kStampTolerance_s = 0.001;
/// A frame that begins this close before the end is not on the screen any more.
inline constexpr double kEndTolerance_s = 0.0005;

struct Timeline {
  enum class Source { packets, decoder, rate };
  Source source = Source::packets;
  std::vector<int64_t> stamps;  ///< ascending, without repeats, in time_base; one a frame
  int64_t end = 0;              ///< when the last frame has been shown
  AVRational time_base{1, 1};
  bool complete = true;  ///< false: the scan stopped once it had passed what was asked for

  double after_first_s(int64_t stamp) const { return libav::seconds(stamp - stamps.front(), time_base); }
  double duration_s() const { return after_first_s(end); }
};

/// Part of a video, in seconds after its first frame.
struct Span {
  double from_s = 0;
  double to_s = 0;
};

/// A timeline, and the packets from which the frames on the screen in a span can be decoded.
struct Scan {
  Timeline timeline;
  std::vector<libav::PacketPtr> packets;  ///< from the last key frame at or before the span's start to the span's end
};

enum class ScanTo { end_of_span, end_of_file };

/// Reads packets from the beginning, no pixels. timeline.stamps is empty when the packets do not tell the time of every
/// frame.
Scan scan_packets(VideoStream& stream, Span span, ScanTo to);

/// The stamp that a decoded frame carries in a timeline of this source; frames must be asked about in order of
/// presentation.
class FrameStamps {
 public:
  FrameStamps(Timeline::Source source, const AVStream& stream);
  int64_t next(const AVFrame& frame);
  /// Whether any frame carried a stamp of its own.
  bool any() const { return any_; }
  /// Of the frame asked about last; 0 = unknown.
  int64_t duration(const AVFrame& frame) const;

 private:
  Timeline::Source source_;
  int64_t frame_duration_;  ///< by the stated rate, at least 1
  bool started_ = false;
  int64_t last_ = 0;
  bool any_ = false;
  bool guessed_ = false;  ///< the last one
};

/// Decodes everything, for streams whose packets carry no stamps.
Timeline decoded_timeline(const std::filesystem::path& path);

/// Stamps of the frames on the screen at start_s + i / fps. Throws Error that names the file when the video is too
/// short.
std::vector<int64_t> picked_stamps(const VideoStream& stream, const Timeline& timeline, const ClipRequest& request);

}  // namespace jointtuner::media
