#include "timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jointtuner/base/error.h"
#include "libav_versions.h"

namespace jointtuner::media {
namespace {

int64_t stated_frame_duration(const AVStream& stream) {
  for (const AVRational rate : {stream.avg_frame_rate, stream.r_frame_rate})
    if (rate.num > 0 && rate.den > 0) return std::max<int64_t>(1, av_rescale_q(1, av_inv_q(rate), stream.time_base));
  return std::max<int64_t>(
      1, std::llround(0.04 / av_q2d(stream.time_base)));  // 25 a second, as libav assumes for raw streams
}

/// End of the last frame: its own duration, else the gap before it, else the stated rate's.
int64_t timeline_end(const std::vector<int64_t>& stamps, int64_t last_duration, const AVStream& stream) {
  if (last_duration <= 0 && stamps.size() > 1) last_duration = stamps.back() - stamps[stamps.size() - 2];
  return stamps.back() + (last_duration > 0 ? last_duration : stated_frame_duration(stream));
}

/// The packets that are worth keeping while a file is read from its beginning.
class Keeper {
 public:
  Keeper(Span span, AVRational time_base) : span_(span), time_base_(time_base) {}

  bool is_past(const AVPacket& packet) const {
    return packet.dts != AV_NOPTS_VALUE && first_ != INT64_MAX &&
           libav::seconds(packet.dts - first_, time_base_) > span_.to_s + kStampTolerance_s;
  }

  void take(libav::PacketPtr packet, bool shown) {
    if (shown) first_ = std::min(first_, packet->pts);
    if (is_past(*packet)) return;
    const bool is_key = (packet->flags & AV_PKT_FLAG_KEY) != 0;
    if (is_key && first_ != INT64_MAX && libav::seconds(packet->pts - first_, time_base_) <= span_.from_s)
      packets.clear();
    packets.push_back(std::move(packet));
  }

  std::vector<libav::PacketPtr> packets;

 private:
  Span span_;
  AVRational time_base_;
  int64_t first_ = INT64_MAX;  ///< smallest stamp so far
};

}  // namespace

Scan scan_packets(VideoStream& stream, Span span, ScanTo to) {
  Scan scan;
  scan.timeline.time_base = stream.stream().time_base;
  Keeper keeper(span, scan.timeline.time_base);
  std::vector<std::pair<int64_t, int64_t>> shown;  // stamp, duration
  int64_t first_key = AV_NOPTS_VALUE;
  while (libav::PacketPtr packet = stream.next_packet()) {
    const bool is_key = (packet->flags & AV_PKT_FLAG_KEY) != 0;
    if (first_key == AV_NOPTS_VALUE && !is_key)
      continue;  // a recording that begins inside a group of pictures: these cannot be decoded
    if (packet->pts == AV_NOPTS_VALUE) return scan;
    if (first_key == AV_NOPTS_VALUE) first_key = packet->pts;
    if ((packet->flags & AV_PKT_FLAG_CORRUPT) != 0)
      throw Error(
          fmt::format("{}: the packet at {:.3f} s of its own clock is damaged or cut off; copy or re-encode the file",
                      stream.path().string(), libav::seconds(packet->pts, scan.timeline.time_base)));
    if (to == ScanTo::end_of_span && keeper.is_past(*packet)) {
      scan.timeline.complete = false;
      break;
    }
    // Discarded: decoded for others' sake, but an edit list hides it. Before the first key frame: refers to what is not
    // there.
    const bool is_shown = (packet->flags & AV_PKT_FLAG_DISCARD) == 0 && packet->pts >= first_key;
    if (is_shown) shown.emplace_back(packet->pts, packet->duration);
    keeper.take(std::move(packet), is_shown);
  }
  if (shown.empty()) return scan;
  std::sort(shown.begin(), shown.end());
  for (const auto& [stamp, duration] : shown)
    if (scan.timeline.stamps.empty() || scan.timeline.stamps.back() != stamp) scan.timeline.stamps.push_back(stamp);
  scan.timeline.end = timeline_end(scan.timeline.stamps, shown.back().second, stream.stream());
  scan.packets = std::move(keeper.packets);
  return scan;
}

FrameStamps::FrameStamps(Timeline::Source source, const AVStream& stream)
    : source_(source), frame_duration_(stated_frame_duration(stream)) {}

int64_t FrameStamps::next(const AVFrame& frame) {
  if (source_ == Timeline::Source::packets) return frame.pts;
  int64_t stamp = frame.best_effort_timestamp;
  guessed_ = stamp == AV_NOPTS_VALUE || (started_ && stamp <= last_);
  if (guessed_) stamp = started_ ? last_ + frame_duration_ : 0;
  any_ = any_ || !guessed_;
  started_ = true;
  last_ = stamp;
  return stamp;
}

int64_t FrameStamps::duration(const AVFrame& frame) const { return guessed_ ? 0 : libav::duration(frame); }

Timeline decoded_timeline(const std::filesystem::path& path) {
  VideoStream stream(path);
  FrameDecoder decoder(stream);
  FrameStamps frame_stamps(Timeline::Source::decoder, stream.stream());
  Timeline timeline;
  timeline.time_base = stream.stream().time_base;
  int64_t last_duration = 0;
  bool more = true;
  while (more) {
    const libav::PacketPtr packet = stream.next_packet();
    decoder.send(packet.get());
    more = packet != nullptr;
    while (const AVFrame* frame = decoder.receive()) {
      timeline.stamps.push_back(frame_stamps.next(*frame));
      last_duration = frame_stamps.duration(*frame);
    }
  }
  if (timeline.stamps.empty())
    throw Error(fmt::format("{}: its video stream holds no picture that can be decoded{}; it is cut off or damaged",
                            path.string(), libav::last_complaint()));
  timeline.source = frame_stamps.any() ? Timeline::Source::decoder : Timeline::Source::rate;
  timeline.end = timeline_end(timeline.stamps, last_duration, stream.stream());
  return timeline;
}

namespace {

[[noreturn]] void too_short(const VideoStream& stream, const Timeline& timeline, const ClipRequest& request) {
  const double found = timeline.duration_s();
  const int64_t promised = stream.container().duration;
  std::string hint;
  if (promised != AV_NOPTS_VALUE && static_cast<double>(promised) / AV_TIME_BASE > found + 0.5)
    hint = fmt::format(" Its header promises {:.2f} s: the file may be cut off.",
                       static_cast<double>(promised) / AV_TIME_BASE);
  throw Error(fmt::format(
      "{}: too short: it lasts {:.3f} s, but {} frames at {:g} fps from {:g} s on need more than {:.3f} s. Use a "
      "longer video, fewer frames, a higher fps or an earlier start.{}",
      stream.path().string(), found, request.frames, request.fps, request.start_s,
      request.start_s + clip_length_s(request), hint));
}

}  // namespace

std::vector<int64_t> picked_stamps(const VideoStream& stream, const Timeline& timeline, const ClipRequest& request) {
  const double last_s = request.start_s + clip_length_s(request);
  if (timeline.complete && last_s >= timeline.duration_s() - kEndTolerance_s) too_short(stream, timeline, request);
  std::vector<int64_t> picked;
  const auto& stamps = timeline.stamps;
  for (int64_t i = 0; i < request.frames; ++i) {
    const double time_s = request.start_s + static_cast<double>(i) / request.fps + kStampTolerance_s;
    const auto later = std::partition_point(stamps.begin(), stamps.end(),
                                            [&](int64_t stamp) { return timeline.after_first_s(stamp) <= time_s; });
    picked.push_back(*std::prev(later));  // the first frame is at 0, so there is one
  }
  return picked;
}

}  // namespace jointtuner::media
