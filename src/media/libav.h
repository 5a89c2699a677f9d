// libav's handles as unique_ptr, its return codes as Error, its messages kept off the terminal. For this module's
// sources.
#pragma once
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace jointtuner::media::libav {

struct CloseInput {
  void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
};
struct FreeOutput {  // its pb is a dynamic buffer or null
  void operator()(AVFormatContext* context) const;
};
struct FreeCodec {
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
};
struct FreePacket {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct FreeFrame {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct FreeScaler {
  void operator()(SwsContext* context) const { sws_freeContext(context); }
};
using InputPtr = std::unique_ptr<AVFormatContext, CloseInput>;
using OutputPtr = std::unique_ptr<AVFormatContext, FreeOutput>;
using CodecPtr = std::unique_ptr<AVCodecContext, FreeCodec>;
using PacketPtr = std::unique_ptr<AVPacket, FreePacket>;
using FramePtr = std::unique_ptr<AVFrame, FreeFrame>;
using ScalerPtr = std::unique_ptr<SwsContext, FreeScaler>;

/// Throws Error when libav ran out of memory.
PacketPtr new_packet();
FramePtr new_frame();

/// From now on libav's messages go to log_debug, and this thread's last error is kept for last_complaint.
void take_over_messages();
/// " (libav: moov atom not found)", or "" when nothing was said since the last call.
std::string last_complaint();

/// libav's text for a negative return code, with the last complaint.
std::string reason(int code);

/// code when it is not negative, else throws Error: "<file>: cannot <action>: <reason>".
int checked(int code, const std::filesystem::path& file, std::string_view action);

inline double seconds(int64_t stamp, AVRational time_base) { return static_cast<double>(stamp) * av_q2d(time_base); }

}  // namespace jointtuner::media::libav
