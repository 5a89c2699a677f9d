#include "jointtuner/media/video_reader.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <opencv2/core.hpp>

#include "fit_mat.h"
#include "frame_converter.h"
#include "frames.h"
#include "jointtuner/base/error.h"
#include "timeline.h"

namespace jointtuner::media {
namespace fs = std::filesystem;
namespace {

using NextPacket = std::function<libav::PacketPtr()>;
/// Picks from .first to before .second, all of one frame.
using Picks = std::pair<int64_t, int64_t>;
using TakeFrame = std::function<void(Picks picks, const VideoStream& stream, const AVFrame& frame)>;

void check_request(const ClipRequest& request) {
  if (!(request.fps > 0) || request.frames < 1 || !(request.start_s >= 0))
    throw UsageError(fmt::format(
        "a clip needs fps > 0, at least 1 frame and a start of 0 s or later; found fps {:g}, {} frames, start {:g} s",
        request.fps, request.frames, request.start_s));
}

Span span_of(const ClipRequest& request) { return {request.start_s, request.start_s + clip_length_s(request)}; }

/// Decodes until every picked frame was taken; false when one of them did not come out of the decoder.
bool deliver(const VideoStream& stream, Timeline::Source source, const NextPacket& next_packet,
             const std::vector<int64_t>& picked, const TakeFrame& take) {
  FrameDecoder decoder(stream);
  FrameStamps stamps(source, stream.stream());
  auto pick = picked.begin();
  bool more = true;
  while (more) {
    const libav::PacketPtr packet = next_packet();
    more = packet != nullptr;
    const bool wanted =
        !more || source != Timeline::Source::packets || std::binary_search(picked.begin(), picked.end(), packet->pts);
    decoder.send(packet.get(), wanted);
    while (const AVFrame* frame = decoder.receive()) {
      const int64_t stamp = stamps.next(*frame);
      if (stamp > *pick) return false;
      // Also a picture that is not wanted itself: what is decoded here is wanted or predicts what is wanted.
      if (is_damaged(*frame))
        throw Error(fmt::format("{}: the picture at {:.3f} s of its own clock is damaged{}; copy or re-encode the file",
                                stream.path().string(), libav::seconds(stamp, stream.stream().time_base),
                                libav::last_complaint()));
      if (stamp < *pick) continue;
      const auto next_pick = std::upper_bound(pick, picked.end(), stamp);
      take({pick - picked.begin(), next_pick - picked.begin()}, stream, *frame);
      pick = next_pick;
      if (pick == picked.end()) return true;
    }
  }
  return false;
}

/// Picks by the packets' stamps, and where they do not tell, or promise frames that the decoder does not give, by the
/// decoder's.
Timeline take_picked(const fs::path& path, const ClipRequest& request, ScanTo to, const TakeFrame& take) {
  VideoStream stream(path);
  Scan scan = scan_packets(stream, span_of(request), to);
  if (!scan.timeline.stamps.empty()) {
    size_t next = 0;
    const NextPacket kept = [&] {
      return next < scan.packets.size() ? std::move(scan.packets[next++]) : libav::PacketPtr();
    };
    const auto picked = picked_stamps(stream, scan.timeline, request);
    if (deliver(stream, Timeline::Source::packets, kept, picked, take)) return std::move(scan.timeline);
  }
  Timeline timeline = decoded_timeline(path);
  const auto picked = picked_stamps(stream, timeline, request);
  VideoStream again(path);
  if (!deliver(again, timeline.source, [&] { return again.next_packet(); }, picked, take))
    throw Error(
        fmt::format("{}: decoding it twice gave different pictures; it is damaged, re-encode it", path.string()));
  return timeline;
}

}  // namespace

double clip_length_s(const ClipRequest& request) { return static_cast<double>(request.frames - 1) / request.fps; }

double last_start_s(double duration_s, const ClipRequest& request) {
  // picked_stamps refuses a last frame at or after duration - kEndTolerance_s.
  return duration_s - 2 * kEndTolerance_s - clip_length_s(request);
}

VideoInfo probe_video(const fs::path& path) {
  const ClipRequest first{.start_s = 0, .fps = 1, .frames = 1};
  VideoInfo info;
  const Timeline timeline =
      take_picked(path, first, ScanTo::end_of_file, [&](Picks, const VideoStream& stream, const AVFrame& frame) {
        FrameConverter converter(stream);
        const cv::Mat image = converter.rgb(frame);
        info.container = stream.container().iformat->name;
        info.codec = avcodec_get_name(stream.stream().codecpar->codec_id);
        info.size = {image.rows, image.cols};
        info.rotation_degrees = clockwise_degrees(converter.orientation(frame));
      });
  info.duration_s = timeline.duration_s();
  info.frames = static_cast<int64_t>(timeline.stamps.size());
  info.mean_fps = static_cast<double>(info.frames) / info.duration_s;
  info.stamps_from_rate = timeline.source == Timeline::Source::rate;
  return info;
}

std::vector<double> picked_times_s(const fs::path& path, const ClipRequest& request) {
  check_request(request);
  VideoStream stream(path);
  Timeline timeline = scan_packets(stream, span_of(request), ScanTo::end_of_span).timeline;
  if (timeline.stamps.empty()) timeline = decoded_timeline(path);
  std::vector<double> times_s;
  for (const int64_t stamp : picked_stamps(stream, timeline, request)) times_s.push_back(timeline.after_first_s(stamp));
  return times_s;
}

Tensor read_clip(const fs::path& path, const ClipRequest& request) {
  check_request(request);
  Tensor clip;
  std::optional<FrameConverter> converter;
  const VideoStream* converted = nullptr;
  take_picked(path, request, ScanTo::end_of_span, [&](Picks picks, const VideoStream& stream, const AVFrame& frame) {
    if (converted != &stream) {
      converter.emplace(stream);
      converted = &stream;
    }
    const cv::Mat rgb = converter->rgb(frame);
    if (!clip.defined()) {
      const Size size = request.size.value_or(Size{rgb.rows, rgb.cols});
      clip = at::empty({request.frames, size.height_px, size.width_px, 3}, at::kByte);
    }
    if (!request.size && (rgb.rows != clip.size(1) || rgb.cols != clip.size(2)))
      throw Error(fmt::format("{}: its picture size changes from {}x{} to {}x{} (height x width); ask for a fixed size",
                              path.string(), clip.size(1), clip.size(2), rgb.rows, rgb.cols));
    fit_mat(rgb, mat_view(clip.select(0, picks.first)), request.fit);
    for (int64_t pick = picks.first + 1; pick < picks.second; ++pick)
      clip.select(0, pick).copy_(clip.select(0, picks.first));
  });
  return clip;
}

}  // namespace jointtuner::media
