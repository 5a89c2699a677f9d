// The "data" section of a run's config.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "jointtuner/base/field.h"

namespace jointtuner::data {

struct SourceOptions {
  std::string path;
  std::string caption;
  double start_s = 0;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("path", o.path, "a file, or a folder whose files are all used");
    field("caption", o.caption,
          "caption of every file here; empty: each x.png or x.mp4 has its caption in x.txt beside it");
    field("start_s", o.start_s, "videos: skip this many seconds at the beginning", Range{0, 1e6});
  }
};

struct DataOptions {
  std::vector<SourceOptions> images;
  std::vector<SourceOptions> videos;
  int64_t height = 384;
  int64_t width = 384;
  int64_t frames = 16;
  double fps = 8;
  std::string resize = "cover";
  double image_flip = 0.5;
  int64_t clips_per_video = 1;
  std::string on_bad_item = "error";
  int64_t encode_tile = 0;
  std::string cache;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("images", o.images, "where the pictures of the subject are");
    field("videos", o.videos, "where the clips of the motion are");
    field("height", o.height, "height in pixels that pictures and clips are fitted to", Range{8, 8192});
    field("width", o.width, "width in pixels that pictures and clips are fitted to", Range{8, 8192});
    field("frames", o.frames, "frames of a clip", Range{1, 4096});
    field("fps", o.fps, "frames a second at which a clip is sampled, by time stamps", Range{0.01, 1000});
    field("resize", o.resize, "cover: keep the aspect and cut the middle out; stretch: change the aspect",
          Choices{"cover", "stretch"});
    field("image_flip", o.image_flip, "probability that a picture is mirrored left to right", Range{0, 1});
    field("clips_per_video", o.clips_per_video,
          "start positions in each video to choose from, evenly spaced from start_s to the last that fits",
          Range{1, 1000});
    field("on_bad_item", o.on_bad_item,
          "a file that cannot be used: error: stop; skip: leave it out and list it with its reason",
          Choices{"error", "skip"});
    field("encode_tile", o.encode_tile,
          "side in pixels of the tiles in which frames are encoded, for want of memory; 0 = whole frames",
          Range{0, 8192});
    field("cache", o.cache,
          "folder of encoded latents and captions, keyed by content; empty: jointtuner/ in the user's cache folder");
  }
};

}  // namespace jointtuner::data
