#include "encoder.h"

extern "C" {
#include <libavutil/opt.h>
}
#include <fmt/format.h>

#include <algorithm>

#include "jointtuner/base/error.h"

namespace jointtuner::media {

using libav::checked;

VideoEncoder::VideoEncoder(std::filesystem::path path, const char* muxer, const char* encoder)
    : path_(std::move(path)), packet_(libav::new_packet()) {
  libav::take_over_messages();
  const AVCodec* found = avcodec_find_encoder_by_name(encoder);
  if (found == nullptr)
    throw Error(fmt::format("{}: cannot be written: this libav has no encoder {}; install a libavcodec that has it",
                            path_.string(), encoder));
  AVFormatContext* output = nullptr;
  checked(avformat_alloc_output_context2(&output, nullptr, muxer, nullptr), path_, "set its container up");
  output_.reset(output);
  output_->flags |= AVFMT_FLAG_BITEXACT;
  codec_.reset(avcodec_alloc_context3(found));
  stream_ = avformat_new_stream(output_.get(), nullptr);
  if (!codec_ || stream_ == nullptr) throw Error("out of memory: libav could not allocate an encoder");
  codec_->flags |= AV_CODEC_FLAG_BITEXACT;
  codec_->thread_count = 1;  // the bytes depend on the number of threads
  if ((output_->oformat->flags & AVFMT_GLOBALHEADER) != 0) codec_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
}

void VideoEncoder::option(const char* name, const char* value) {
  checked(av_opt_set(codec_->priv_data, name, value, 0), path_,
          fmt::format("set the encoder's option {}={}", name, value));
}

void VideoEncoder::open() {
  checked(avcodec_open2(codec_.get(), codec_->codec, nullptr), path_, "open its encoder");
  stream_->time_base = codec_->time_base;
  stream_->avg_frame_rate = codec_->framerate;
  checked(avcodec_parameters_from_context(stream_->codecpar, codec_.get()), path_, "describe its stream");
  checked(avio_open_dyn_buf(&output_->pb), path_, "allocate its bytes");
  checked(avformat_write_header(output_.get(), nullptr), path_, "write its header");
}

void VideoEncoder::add(AVFrame& frame, int64_t stamp, int64_t end) {
  frame.pts = stamp;
  ends_.emplace_back(stamp, end);
  checked(avcodec_send_frame(codec_.get(), &frame), path_, "encode a frame");
  write_finished_packets();
}

void VideoEncoder::write_finished_packets() {
  while (true) {
    const int code = avcodec_receive_packet(codec_.get(), packet_.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
    checked(code, path_, "encode a frame");
    const auto frame =
        std::find_if(ends_.begin(), ends_.end(), [&](const auto& entry) { return entry.first == packet_->pts; });
    if (frame != ends_.end()) packet_->duration = frame->second - frame->first;
    packet_->stream_index = stream_->index;
    av_packet_rescale_ts(packet_.get(), codec_->time_base, stream_->time_base);
    checked(av_interleaved_write_frame(output_.get(), packet_.get()), path_, "write a frame");
  }
}

std::string VideoEncoder::bytes() {
  checked(avcodec_send_frame(codec_.get(), nullptr), path_, "finish encoding");
  write_finished_packets();
  checked(av_write_trailer(output_.get()), path_, "finish its container");
  uint8_t* data = nullptr;
  const int size = avio_close_dyn_buf(output_->pb, &data);
  output_->pb = nullptr;
  const std::unique_ptr<uint8_t, decltype(&av_free)> owner(data, &av_free);
  if (size <= 0) throw Error(fmt::format("{}: libav produced no bytes{}", path_.string(), libav::last_complaint()));
  return {reinterpret_cast<const char*>(data), static_cast<size_t>(size)};
}

}  // namespace jointtuner::media
