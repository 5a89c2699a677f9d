// What a run trains on: pictures and videos with their captions.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "jointtuner/data/options.h"
#include "jointtuner/media/fit.h"

namespace jointtuner::data {

enum class Kind { image, video };

struct Item {
  Kind kind = Kind::image;
  std::filesystem::path path;
  std::string caption;
  double start_s = 0;  ///< videos: earliest start of a clip (SourceOptions::start_s)
  /// Videos: the starts to choose from, ascending, clips_per_video of them; images: {0}.
  std::vector<double> clip_starts_s;
  std::string content_hash;  ///< SHA-256 of the file's bytes, hex
  media::Size source_size;   ///< as shown: turned, square pixels
  double duration_s = 0;     ///< videos
};

struct Skipped {
  std::filesystem::path path;
  std::string reason;
};

struct Listing {
  /// Images first, then videos, each sorted by path (bytes of the generic form), then by start_s.
  std::vector<Item> items;
  std::vector<Skipped> skipped;  ///< only with on_bad_item = skip; each one is also logged as a warning
};

/// Everything that the sources name, checked: pictures are decoded, videos are probed and long enough at options.fps
/// (with on_bad_item = skip their clips are decoded as well, so that damage inside is found here). Captions:
/// SourceOptions::caption for all files of the source, or NAME.txt beside NAME.mp4; both at once is an error, since one
/// would be dropped. White space around a caption is cut, line breaks become spaces. A folder is not searched deeper.
/// Hidden files (and Thumbs.db, desktop.ini) are passed over, captions are taken with their media; any other file in it
/// has to be readable. Throws Error that names the file and what to do: a source missing or empty; a file that is no
/// picture (no video); a clip too short; a caption missing, empty, not UTF-8, or without its media; a folder inside a
/// folder. With on_bad_item = skip all these but a missing or empty source are listed in `skipped` instead, and Error
/// is thrown when nothing is left of the images or of the videos that were asked for. UsageError when no source is
/// given at all.
Listing list_items(const DataOptions& options);

/// SHA-256 (hex) over kind, content hash, caption and clip starts of all items in order: two runs with equal data have
/// equal hashes.
std::string data_hash(const std::vector<Item>& items);

}  // namespace jointtuner::data
