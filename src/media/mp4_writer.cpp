#include <fmt/format.h>

#include <opencv2/core.hpp>

#include "encoder.h"
#include "frames.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/media/video_writer.h"

namespace jointtuner::media {
namespace {

/// The padded picture's size: yuv420p has one colour sample for 2x2 pixels.
int even(int64_t side) { return static_cast<int>(side + side % 2); }

/// x264's AVX-512 code gives different bytes for equal frames from call to call (seen with x264 core 164); its AVX2,
/// SSE4 and plain C code agree with each other always.
bool has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") != 0;
#else
  return false;
#endif
}

void set_up(VideoEncoder& encoder, const Tensor& video, double fps) {
  AVCodecContext& codec = encoder.codec();
  codec.width = even(video.size(2));
  codec.height = even(video.size(1));
  codec.pix_fmt = AV_PIX_FMT_YUV420P;
  codec.framerate = av_d2q(fps, 1001000);
  codec.time_base = av_inv_q(codec.framerate);
  codec.color_range = AVCOL_RANGE_MPEG;
  codec.colorspace = AVCOL_SPC_SMPTE170M;
  encoder.option("preset", "medium");
  encoder.option("crf", "17");
  if (has_avx512()) encoder.option("x264-params", "asm=avx2");
  encoder.open();
}

}  // namespace

void write_mp4(const std::filesystem::path& path, const Tensor& frames, double fps) {
  check_frames(frames, 4, "write_mp4");
  if (!(fps > 0 && fps <= 1000))
    throw Error(fmt::format("{}: expected a rate above 0 and up to 1000 fps, found {:g}", path.string(), fps));
  const Tensor video = frames.contiguous();
  VideoEncoder encoder(path, "mp4", "libx264");
  set_up(encoder, video, fps);
  const AVCodecContext& codec = encoder.codec();
  const libav::ScalerPtr scaler(sws_getContext(codec.width, codec.height, AV_PIX_FMT_RGB24, codec.width, codec.height,
                                               AV_PIX_FMT_YUV420P, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP,
                                               nullptr, nullptr, nullptr));
  if (!scaler)
    throw Error(
        fmt::format("{}: libswscale cannot convert {}x{} RGB to yuv420p", path.string(), codec.height, codec.width));
  cv::Mat padded;
  for (int64_t i = 0; i < video.size(0); ++i) {
    const cv::Mat rgb = mat_view(video.select(0, i));
    cv::copyMakeBorder(rgb, padded, 0, codec.height - rgb.rows, 0, codec.width - rgb.cols, cv::BORDER_REPLICATE);
    const libav::FramePtr frame = libav::new_frame();
    frame->format = codec.pix_fmt;
    frame->width = codec.width;
    frame->height = codec.height;
    frame->color_range = codec.color_range;
    frame->colorspace = codec.colorspace;
    libav::checked(av_frame_get_buffer(frame.get(), 0), path, "allocate a frame");
    const uint8_t* planes[] = {padded.data};
    const int strides[] = {static_cast<int>(padded.step)};
    libav::checked(sws_scale(scaler.get(), planes, strides, 0, codec.height, frame->data, frame->linesize), path,
                   "convert a frame to yuv420p");
    encoder.add(*frame, i, i + 1);
  }
  write_atomically(path, encoder.bytes());
}

}  // namespace jointtuner::media
