// Video files, through libav. Frames are picked by their time stamps.
//
// Time zero of a video is its first shown frame, whatever stamp that frame carries (transport streams start at 1.4 s,
// edit lists at anything). The frame at time t is the one on the screen at t: the last whose stamp is <= t + 1 ms; the
// millisecond absorbs the rounding of containers that count in milliseconds. A video ends when its last frame has been
// shown for its duration. Stamps come from the packets; a stream whose packets carry none (raw streams, AVI with B
// frames) is decoded once to get them from the decoder, and where even that has none, frames follow each other at the
// stream's stated rate.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "jointtuner/media/fit.h"

namespace jointtuner::media {

struct VideoInfo {
  std::string container;         ///< libav's short name, e.g. "mov,mp4,m4a,3gp,3g2,mj2"
  std::string codec;             ///< e.g. "h264"
  Size size;                     ///< as shown: turned, and with square pixels
  int64_t rotation_degrees = 0;  ///< clockwise turn that the file asks for: 0, 90, 180, 270
  double duration_s = 0;         ///< from the first frame to the end of the last
  int64_t frames = 0;
  double mean_fps = 0;            ///< frames / duration_s
  bool stamps_from_rate = false;  ///< the file has no time stamps: they were made from the stated rate
};

/// Reads the whole file's packets (no pixels but the first frame's), so the duration is what is there and not what a
/// header promises. Throws Error that names the file when it is missing, no regular file, empty, cut off, damaged, of a
/// kind libav does not know (text renamed to .mp4), or has no video stream (audio only; cover art is not a video).
VideoInfo probe_video(const std::filesystem::path& path);

struct ClipRequest {
  double start_s = 0;
  double fps = 8;
  int64_t frames = 16;
  /// When set, each frame is fitted as soon as it is decoded; full-size frames are not kept.
  std::optional<Size> size = std::nullopt;
  Fit fit = Fit::cover;
};

/// The times start_s + i / fps, i = 0 .. frames - 1, need this much of a video after start_s (the last frame has only
/// to begin).
double clip_length_s(const ClipRequest& request);

/// The largest start_s for which frames frames at fps lie inside a video of this duration; negative when none does.
double last_start_s(double duration_s, const ClipRequest& request);

/// Time stamps (seconds after time zero) of the frames that read_clip would pick, without decoding where packets carry
/// stamps. A stamp occurs twice where the video has fewer frames than fps asks for. Throws as read_clip.
std::vector<double> picked_times_s(const std::filesystem::path& path, const ClipRequest& request);

/// uint8 [F,H,W,3] RGB: as shown (turned, square pixels), fitted when request.size is set. The matrix and range of the
/// stream's colours are honoured; without them BT.601, limited range. Interlaced video stays as it is, transparency is
/// dropped. Throws as probe_video (damage is found in the part that is needed), and Error that names the file, its
/// length and what was needed when it is too short; UsageError on a request that makes no sense (fps <= 0, frames < 1,
/// start_s < 0).
Tensor read_clip(const std::filesystem::path& path, const ClipRequest& request);

}  // namespace jointtuner::media
