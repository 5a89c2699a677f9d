#include "jointtuner/run/sizes.h"

namespace jointtuner::run {

sample::SampleOptions with_sizes(sample::SampleOptions options, const data::DataOptions& data) {
  if (options.frames == 0) options.frames = data.frames;
  if (options.height == 0) options.height = data.height;
  if (options.width == 0) options.width = data.width;
  if (options.fps == 0) options.fps = data.fps;
  return options;
}

}  // namespace jointtuner::run
