#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "encoder.h"
#include "frames.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/media/video_writer.h"
#include "palette.h"

namespace jointtuner::media {
namespace {

constexpr int64_t kColours = 255;  // and one transparent entry, which the encoder uses for what stays the same
constexpr int kDitherLevels = 12;

/// Bayer's 4x4 pattern as offsets around 0: unlike error diffusion it leaves still parts of a picture still.
int dither(int64_t row, int64_t column) {
  static constexpr int kPattern[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
  return (kPattern[row % 4][column % 4] * 2 - 15) * kDitherLevels / 32;
}

void fill(AVFrame& frame, const Tensor& image, Palette& palette, bool dithered) {
  const auto* pixel = image.const_data_ptr<uint8_t>();
  for (int64_t row = 0; row < image.size(0); ++row) {
    uint8_t* indices = frame.data[0] + row * frame.linesize[0];
    for (int64_t column = 0; column < image.size(1); ++column, pixel += 3) {
      const int offset = dithered ? dither(row, column) : 0;
      const auto level = [&](int channel) { return std::clamp(pixel[channel] + offset, 0, 255); };
      indices[column] = palette.nearest(level(0), level(1), level(2));
    }
  }
  auto* entries = reinterpret_cast<uint32_t*>(frame.data[1]);
  std::fill(entries, entries + 256, 0U);  // alpha 0
  for (size_t i = 0; i < palette.colours().size(); ++i) {
    const Colour& colour = palette.colours()[i];
    entries[i] =
        0xFF000000U | static_cast<uint32_t>(colour[0]) << 16 | static_cast<uint32_t>(colour[1]) << 8 | colour[2];
  }
}

}  // namespace

void write_gif(const std::filesystem::path& path, const Tensor& frames, double fps) {
  check_frames(frames, 4, "write_gif");
  if (!(fps > 0 && fps <= 50))
    throw Error(
        fmt::format("{}: expected a rate above 0 and up to 50 fps, which is what GIF viewers can show, found {:g}",
                    path.string(), fps));
  const Tensor video = frames.contiguous();
  Palette palette(video, kColours);
  VideoEncoder encoder(path, "gif", "gif");
  AVCodecContext& codec = encoder.codec();
  codec.width = static_cast<int>(video.size(2));
  codec.height = static_cast<int>(video.size(1));
  codec.pix_fmt = AV_PIX_FMT_PAL8;
  codec.time_base = {1, 100};
  codec.framerate = av_d2q(fps, 1001000);
  encoder.open();
  const auto stamp = [&](int64_t i) { return std::llround(100.0 * static_cast<double>(i) / fps); };
  for (int64_t i = 0; i < video.size(0); ++i) {
    const libav::FramePtr frame = libav::new_frame();
    frame->format = codec.pix_fmt;
    frame->width = codec.width;
    frame->height = codec.height;
    libav::checked(av_frame_get_buffer(frame.get(), 0), path, "allocate a frame");
    const bool dithered =
        static_cast<int64_t>(palette.colours().size()) == kColours;  // else every cell has its own entry
    fill(*frame, video.select(0, i), palette, dithered);
    encoder.add(*frame, stamp(i), stamp(i + 1));
  }
  write_atomically(path, encoder.bytes());
}

}  // namespace jointtuner::media
