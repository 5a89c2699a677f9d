#include "video_stream.h"

#include <fmt/format.h>

#include "jointtuner/base/error.h"
#include "libav_versions.h"
#include "media_file.h"

namespace jointtuner::media {

using libav::checked;

namespace {

/// mp4 and mov: everything that is needed stands in the index; decoding the first frames to find it out would take
/// longer than the rest of opening.
bool tells_all_in_header(const AVFormatContext& input) {
  if (std::string_view(input.iformat->name).substr(0, 4) != "mov,") return false;
  for (unsigned i = 0; i < input.nb_streams; ++i) {
    const AVStream& stream = *input.streams[i];
    if (stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
        (stream.codecpar->width <= 0 || stream.codecpar->extradata_size == 0 || stream.avg_frame_rate.num <= 0)) {
      return false;
    }
  }
  return true;
}

}  // namespace

VideoStream::VideoStream(std::filesystem::path path) : path_(std::move(path)) {
  check_media_file(path_, "a video");
  libav::take_over_messages();
  AVFormatContext* opened = nullptr;
  const std::string url = "file:" + path_.string();  // a name like "a:b.mp4" is a file, too
  // A playlist must not lead to other files or the network, so the only protocol is the file's own.
  AVDictionary* options = nullptr;
  av_dict_set(&options, "protocol_whitelist", "file", 0);
  const int code = avformat_open_input(&opened, url.c_str(), nullptr, &options);
  av_dict_free(&options);
  if (code < 0)
    throw Error(fmt::format(
        "{}: expected a video, found a file that libav cannot open: {}; it is cut off, damaged or of another kind",
        path_.string(), libav::reason(code)));
  input_.reset(opened);
  if (!tells_all_in_header(*opened))
    checked(avformat_find_stream_info(opened, nullptr), path_, "find out what streams it has");
  if (opened->nb_streams == 0)
    throw Error(fmt::format(
        "{}: expected a video, found a {} file without any stream{}; it is cut off or damaged, copy it again",
        path_.string(), opened->iformat->name, libav::last_complaint()));
  const int index = libav::best_video_stream(*opened, decoder_);
  if (index == AVERROR_DECODER_NOT_FOUND)
    throw Error(
        fmt::format("{}: this libav has no decoder for its video stream; re-encode it as H.264", path_.string()));
  if (index < 0 || (opened->streams[index]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0)
    throw Error(fmt::format(
        "{}: expected a video, found a file without a video stream ({}, {} streams: audio, subtitles or cover art)",
        path_.string(), opened->iformat->name, opened->nb_streams));
  for (unsigned i = 0; i < opened->nb_streams; ++i)
    opened->streams[i]->discard = static_cast<int>(i) == index ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  stream_ = opened->streams[index];
}

libav::PacketPtr VideoStream::next_packet() {
  libav::PacketPtr packet = libav::new_packet();
  while (true) {
    const int code = av_read_frame(input_.get(), packet.get());
    const bool device_failed = input_->pb != nullptr && input_->pb->error < 0 && input_->pb->error != AVERROR_EOF;
    if (code == AVERROR_EOF && !device_failed) return nullptr;
    if (code < 0)
      throw Error(fmt::format("{}: reading stopped before its end: {}; it is cut off or damaged, copy it again",
                              path_.string(), libav::reason(device_failed ? input_->pb->error : code)));
    if (packet->stream_index == stream_->index) return packet;
    av_packet_unref(packet.get());
  }
}

FrameDecoder::FrameDecoder(const VideoStream& stream)
    : stream_(stream), codec_(avcodec_alloc_context3(stream.decoder_)), frame_(libav::new_frame()) {
  if (!codec_) throw Error("out of memory: libav could not allocate a decoder");
  checked(avcodec_parameters_to_context(codec_.get(), stream.stream().codecpar), stream.path(), "set its decoder up");
  codec_->pkt_timebase = stream.stream().time_base;
  // One thread, so that every concealed hole is marked (is_damaged): with frame threads libav copies the marks when a
  // picture is queued, perhaps before another thread has met its damage, and with slice threads H.264 conceals nothing.
  codec_->thread_count = 1;
  checked(avcodec_open2(codec_.get(), stream.decoder_, nullptr), stream.path(), "open its decoder");
}

void FrameDecoder::fail(int code) const {
  throw Error(
      fmt::format("{}: its pictures cannot be decoded near {:.3f} s of its own clock: {}; it is cut off or damaged, "
                  "copy it again or re-encode it",
                  stream_.path().string(), reached_s_, libav::reason(code)));
}

void FrameDecoder::send(const AVPacket* packet, bool wanted) {
  codec_->skip_frame = wanted ? AVDISCARD_DEFAULT : AVDISCARD_NONREF;
  if (packet != nullptr && packet->pts != AV_NOPTS_VALUE)
    reached_s_ = libav::seconds(packet->pts, stream_.stream().time_base);
  const int code = avcodec_send_packet(codec_.get(), packet);
  if (code < 0) fail(code);
}

const AVFrame* FrameDecoder::receive() {
  const int code = avcodec_receive_frame(codec_.get(), frame_.get());
  if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return nullptr;
  if (code < 0) fail(code);
  return frame_.get();
}

bool is_damaged(const AVFrame& frame) {
  return frame.decode_error_flags != 0 || (frame.flags & AV_FRAME_FLAG_CORRUPT) != 0;
}

}  // namespace jointtuner::media
