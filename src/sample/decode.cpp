#include "jointtuner/sample/decode.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "jointtuner/backbone/decode_within_memory.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/progress.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/media/contact_sheet.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_writer.h"
#include "jointtuner/sample/latents_file.h"
#include "jointtuner/sample/sampling.h"

namespace jointtuner::sample {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int64_t kPicturesOfOneColumn = 8, kPicturesOfMoreColumns = 4;  // frames a video on the contact sheet
constexpr int kMostGifFps = 50;  // its delays are whole hundredths of a second, and viewers take less than two for ten

/// Decodes one video after the other. What had to be tiled for want of memory stays tiled.
class Decoder {
 public:
  Decoder(const backbone::Bundle& bundle, at::Device device, const SampleOptions& options)
      : options_{.slice_frames = options.decode_slice, .tile_px = options.decode_tile}, autoencoder_(bundle, device) {}

  at::Tensor frames(const at::Tensor& latents) {  // [F,H,W,3]
    backbone::DecodedClip clip = backbone::decode_within_memory(autoencoder_, latents, options_);
    options_ = clip.options;
    return clip.frames.squeeze(0);
  }
  int64_t tile_px() const { return options_.tile_px; }

 private:
  backbone::AutoencoderOptions options_;
  backbone::Autoencoder autoencoder_;
};

/// `count` evenly spaced frames, the first and the last among them.
at::Tensor picked(const at::Tensor& frames, int64_t count) {
  const int64_t n = std::min(count, frames.size(0));
  std::vector<int64_t> at_index;
  for (int64_t i = 0; i < n; ++i) at_index.push_back(n == 1 ? 0 : (i * (frames.size(0) - 1) + (n - 1) / 2) / (n - 1));
  return frames.index_select(0, at::tensor(at_index, at::kLong));
}

/// Rows are (prompt, seed), columns adapters; videos come adapter by adapter, each with the same rows.
struct Grid {
  explicit Grid(const std::vector<Video>& videos) {
    while (rows < videos.size() && videos[rows].label == videos.front().label) ++rows;
    if (rows == 0 || videos.size() % rows != 0)
      throw Error("contact sheet: the adapters have different numbers of videos");
    columns = videos.size() / rows;
  }
  size_t rows = 0, columns = 0;
};

media::Sheet empty_sheet(const std::vector<Video>& videos) {
  const Grid grid(videos);
  media::Sheet sheet;
  for (size_t column = 0; column < grid.columns; ++column)
    sheet.column_labels.push_back(videos[column * grid.rows].label);
  for (size_t row = 0; row < grid.rows; ++row)
    sheet.row_labels.push_back(fmt::format("{} (seed {})", videos[row].prompt, videos[row].seed));
  sheet.cells.resize(videos.size());
  sheet.frames_per_video = grid.columns == 1 ? kPicturesOfOneColumn : kPicturesOfMoreColumns;
  return sheet;
}

/// Throws unless the latents fit the bundle's autoencoder and, when they say so, were made for it.
void check_made_for(const backbone::Bundle& bundle, const fs::path& path, const LatentsFile& file) {
  const backbone::Manifest& manifest = bundle.manifest();
  check_shape(file.latents, {1, manifest.latents.channels, -1, -1, -1},
              fmt::format("{}: latents of the backbone {}", path.string(), manifest.source_name));
  if (file.settings.empty()) return;
  const auto stated = ordered_json::parse(file.settings).at("backbone");
  const std::string made_for = stated.at("autoencoder_sha256"), found = bundle.sha256(manifest.autoencoder.file);
  if (found != made_for)
    throw Error(fmt::format(
        "{}: made for the autoencoder {} of backbone {}, but {} has {}; give its own with --backbone", path.string(),
        made_for.substr(0, 12), stated.at("name").get<std::string>(), bundle.path().string(), found.substr(0, 12)));
}

double frame_rate(const backbone::Bundle& bundle, const LatentsFile& file, const SampleOptions& options) {
  if (options.fps != 0) return options.fps;
  return file.settings.empty() ? bundle.manifest().preferred.fps
                               : ordered_json::parse(file.settings).at("fps").get<double>();
}

VideoFormat checked_format(const fs::path& output, double fps) {
  const VideoFormat format = video_format(output);
  if (format == VideoFormat::gif && fps > kMostGifFps)
    throw UsageError(fmt::format("{}: a GIF shows at most {} frames per second, not {:g}; give a lower --fps",
                                 output.string(), kMostGifFps, fps));
  if (format == VideoFormat::frames && fs::exists(output))
    throw UsageError(fmt::format("{}: exists already and is not overwritten; name a new folder", output.string()));
  return format;
}

void write_frames(const fs::path& folder, const at::Tensor& frames) {
  write_folder_atomically(folder.has_filename() ? folder : folder.parent_path(), [&](const fs::path& temporary) {
    for (int64_t i = 0; i < frames.size(0); ++i)
      media::write_png(temporary / fmt::format("{:04}.png", i), frames.select(0, i));
  });
}

}  // namespace

void write_sample_list(const fs::path& folder, const std::vector<Video>& videos,
                       const std::vector<int64_t>& decode_tiles) {
  std::string lines;
  for (size_t i = 0; i < videos.size(); ++i) {
    const Video& video = videos[i];
    ordered_json line{{"file", video.name + ".mp4"}, {"latents", video.name + std::string(kLatentsEnding)}};
    line["label"] = video.label;
    line.update(ordered_json::parse(video.settings));
    if (i < decode_tiles.size()) line["decode_tile"] = decode_tiles[i];
    lines += line.dump() + "\n";
  }
  write_atomically(folder / "samples.jsonl", lines);
}

void Sampling::decode(const fs::path& folder, const std::vector<Video>& videos) const {
  if (videos.empty()) return;
  write_sample_list(folder, videos);
  media::Sheet sheet = empty_sheet(videos);
  const Grid grid(videos);
  Decoder decoder(*bundle_, device_, options_);
  std::vector<int64_t> tiles;
  Progress progress("decoding", static_cast<int64_t>(videos.size()));
  for (size_t i = 0; i < videos.size(); ++i) {
    stop_if_interrupted("decoding", i, folder);
    const fs::path latents = folder / (videos[i].name + std::string(kLatentsEnding));
    const at::Tensor frames = decoder.frames(load_latents(latents).latents);
    tiles.push_back(decoder.tile_px());
    media::write_mp4(folder / (videos[i].name + ".mp4"), frames, options_.fps);
    sheet.cells[i % grid.rows * grid.columns + i / grid.rows] = picked(frames, sheet.frames_per_video);
    progress.update(static_cast<int64_t>(i) + 1);
  }
  media::write_png(folder / "sheet.png", media::contact_sheet(sheet));
  write_sample_list(folder, videos, tiles);
}

VideoFormat video_format(const fs::path& output) {
  const std::string extension = output.extension().string();
  if (extension == ".mp4") return VideoFormat::mp4;
  if (extension == ".gif") return VideoFormat::gif;
  if (extension.empty()) return VideoFormat::frames;
  throw UsageError(fmt::format(
      "{}: expected a name ending in .mp4 or .gif, or without extension for a folder of PNG files, found \"{}\"",
      output.string(), extension));
}

void decode_latents_file(const backbone::Bundle& bundle, at::Device device, const fs::path& latents,
                         const fs::path& output, const SampleOptions& options) {
  const LatentsFile file = load_latents(latents);
  check_made_for(bundle, latents, file);
  const double fps = frame_rate(bundle, file, options);
  const VideoFormat format = checked_format(output, fps);
  const at::Tensor frames = Decoder(bundle, device, options).frames(file.latents);
  switch (format) {
    case VideoFormat::mp4:
      return media::write_mp4(output, frames, fps);
    case VideoFormat::gif:
      return media::write_gif(output, frames, fps);
    case VideoFormat::frames:
      return write_frames(output, frames);
  }
}

}  // namespace jointtuner::sample
