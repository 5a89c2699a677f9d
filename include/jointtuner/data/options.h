// What a run learns from: the `data` section of a run config. Relative paths are relative to the current directory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jointtuner/base/field.h"

namespace jointtuner::data {

struct SourceOptions {
  std::string path;
  std::string caption;
  double start_s = 0.0;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("path", o.path, "an image or video file, or a folder of them");
    field("caption", o.caption, "caption of every file of this source; \"\" = read x.txt beside x.png or x.mp4");
    field("start_s", o.start_s, "second of the video at which clips may begin; 0 for images", Range{0, 1e6});
  }
};

struct DataOptions {
  std::vector<SourceOptions> images;
  std::vector<SourceOptions> videos;
  int64_t height = 384;
  int64_t width = 384;
  int64_t frames = 16;
  double fps = 8.0;
  std::string resize = "cover";
  double image_flip = 0.5;
  int64_t clips_per_video = 1;
  std::string on_bad_item = "error";
  std::string cache;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("images", o.images, "sources of the subject's pictures (appearance)");
    field("videos", o.videos, "sources of the motion's clips");
    field("height", o.height, "height in pixels to which everything is resized", Range{8, 8192});
    field("width", o.width, "width in pixels to which everything is resized", Range{8, 8192});
    field("frames", o.frames, "frames of a clip", Range{1, 4096});
    field("fps", o.fps, "frames per second at which clips are read, by time stamp", Range{0.01, 1000});
    field("resize", o.resize, "cover = keep the aspect, cut the centre; stretch = change the aspect",
          Choices{"cover", "stretch"});
    field("image_flip", o.image_flip, "probability that an image is mirrored left to right in a step", Range{0, 1});
    field("clips_per_video", o.clips_per_video, "clips taken from each video, spread evenly from start_s to its end",
          Range{1, 10000});
    field("on_bad_item", o.on_bad_item, "error = stop at an unusable file; skip = list it and go on without it",
          Choices{"error", "skip"});
    field("cache", o.cache, "folder of the latent and text caches; \"\" = the user's cache folder");
  }
};

}  // namespace jointtuner::data
