#include "jointtuner/data/pixels.h"

#include <fmt/format.h>

#include "jointtuner/base/error.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_reader.h"

namespace jointtuner::data {
namespace {

media::Size fitted_size(const DataOptions& options) { return {options.height, options.width}; }

media::ClipRequest clip_request(const Item& item, int64_t clip, const DataOptions& options) {
  const auto clips = static_cast<int64_t>(item.clip_starts_s.size());
  if (clip < 0 || clip >= clips)
    throw Error(fmt::format("{}: expected a clip number below {}, found {}", item.path.string(), clips, clip));
  return {.start_s = item.clip_starts_s[static_cast<size_t>(clip)],
          .fps = options.fps,
          .frames = options.frames,
          .size = fitted_size(options),
          .fit = media::fit_from(options.resize)};
}

}  // namespace

Tensor load_frames(const Item& item, const ItemDraw& draw, const DataOptions& options) {
  if (item.kind == Kind::video) return media::read_clip(item.path, clip_request(item, draw.clip, options));
  const Tensor image = media::fit(media::read_image(item.path), fitted_size(options), media::fit_from(options.resize));
  return (draw.flip ? image.flip(1) : image).unsqueeze(0);
}

ItemUse use_of(const Item& item, const DataOptions& options) {
  ItemUse use;
  use.crop = media::crop_of(item.source_size, fitted_size(options), media::fit_from(options.resize));
  use.fitted = fitted_size(options);
  for (size_t clip = 0; clip < item.clip_starts_s.size(); ++clip) {
    ClipUse& added = use.clips.emplace_back();
    added.start_s = item.clip_starts_s[clip];
    if (item.kind == Kind::video)
      added.times_s = media::picked_times_s(item.path, clip_request(item, static_cast<int64_t>(clip), options));
  }
  return use;
}

}  // namespace jointtuner::data
