#include "jointtuner/data/item.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "captions.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"
#include "jointtuner/base/sha256.h"
#include "jointtuner/data/pixels.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_reader.h"

namespace jointtuner::data {
namespace fs = std::filesystem;
namespace {

std::string_view kind_name(Kind kind) { return kind == Kind::image ? "image" : "video"; }

bool is_passed_over(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with(".") || name == "Thumbs.db" || name == "desktop.ini";
}

/// One file that a source names, or the reason why it cannot be used.
struct Candidate {
  fs::path path;
  std::string problem;
};

/// Captions without media, and folders, come with a problem.
std::vector<Candidate> files_of_folder(const fs::path& folder) {
  std::vector<Candidate> candidates;
  std::map<fs::path, bool> captions;  // file -> has media
  std::error_code failure;
  const fs::directory_iterator entries(folder, failure);
  if (failure) throw Error(fmt::format("{}: this folder cannot be listed: {}", folder.string(), failure.message()));
  for (const fs::directory_entry& entry : entries) {
    if (is_passed_over(entry.path())) continue;
    if (entry.is_directory()) {
      candidates.push_back(
          {entry.path(), fmt::format("{}: a folder inside a folder is not searched; make it a source of its own, or "
                                     "move it away",
                                     entry.path().string())});
    } else if (entry.path().extension() == ".txt") {
      captions[entry.path()] = false;
    } else {
      candidates.push_back({entry.path(), ""});
    }
  }
  for (const Candidate& candidate : candidates)
    if (const auto caption = captions.find(caption_file(candidate.path)); caption != captions.end())
      caption->second = true;
  for (const auto& [caption, has_media] : captions)
    if (!has_media)
      candidates.push_back(
          {caption, fmt::format("{}: a caption without its picture or video; put {}.* beside it, or remove it",
                                caption.string(), caption.stem().string())});
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.path < b.path; });
  return candidates;
}

std::vector<Candidate> files_of(const SourceOptions& source, Kind kind) {
  const fs::path path = source.path;
  const std::string field = fmt::format("data.{}s", kind_name(kind));
  if (source.path.empty())
    throw UsageError(fmt::format("{}: a source has an empty \"path\"; give a file or a folder", field));
  if (!fs::exists(path))
    throw Error(fmt::format("{}: {}: no such file or folder; check the path (it is taken from {})", field,
                            path.string(), fs::current_path().string()));
  if (!fs::is_directory(path)) return {{path, ""}};
  std::vector<Candidate> candidates = files_of_folder(path);
  if (candidates.empty())
    throw Error(
        fmt::format("{}: {}: this folder is empty; put {}s into it, each with its caption in a .txt of the same name",
                    field, path.string(), kind_name(kind)));
  return candidates;
}

std::vector<double> clip_starts(double start_s, double last_s, int64_t count) {
  std::vector<double> starts_s{start_s};
  for (int64_t i = 1; i < count; ++i)
    starts_s.push_back(start_s + (last_s - start_s) * static_cast<double>(i) / static_cast<double>(count - 1));
  return starts_s;
}

void complete_video(Item& item, const DataOptions& options) {
  const media::ClipRequest clip{.start_s = item.start_s, .fps = options.fps, .frames = options.frames};
  const media::VideoInfo info = media::probe_video(item.path);
  if (info.stamps_from_rate)
    log_warning(fmt::format("{}: it carries no time stamps; its frames are taken to follow each other at {:g} fps",
                            item.path.string(), info.mean_fps));
  item.source_size = info.size;
  item.duration_s = info.duration_s;
  media::picked_times_s(item.path, clip);  // throws when it is too short
  const double last_s = std::max(item.start_s, media::last_start_s(info.duration_s, clip));
  item.clip_starts_s = clip_starts(item.start_s, last_s, options.clips_per_video);
}

Item item_of(const fs::path& path, const SourceOptions& source, Kind kind, const DataOptions& options) {
  Item item;
  item.kind = kind;
  item.path = path;
  if (kind == Kind::video) {
    item.start_s = source.start_s;
    complete_video(item, options);
  } else {
    const Tensor image = media::read_image(path);
    item.source_size = {image.size(0), image.size(1)};
    item.clip_starts_s = {0};
  }
  item.caption = caption_of(path, source.caption);
  item.content_hash = sha256_file(path);
  if (kind == Kind::video && options.on_bad_item == "skip")
    for (int64_t clip = 0; clip < static_cast<int64_t>(item.clip_starts_s.size()); ++clip)
      load_frames(item, {.item = 0, .flip = false, .clip = clip}, options);
  return item;
}

void add_source(Listing& listing, const SourceOptions& source, Kind kind, const DataOptions& options) {
  for (const Candidate& candidate : files_of(source, kind)) {
    try {
      if (!candidate.problem.empty()) throw Error(candidate.problem);
      listing.items.push_back(item_of(candidate.path, source, kind, options));
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      if (options.on_bad_item != "skip")
        throw Error(fmt::format("{}\n(on_bad_item = skip would leave it out)", error.what()));
      log_warning(fmt::format("left out: {}", error.what()));
      listing.skipped.push_back({candidate.path, error.what()});
    }
  }
}

void check_left(const Listing& listing, Kind kind, bool asked_for) {
  const bool some =
      std::any_of(listing.items.begin(), listing.items.end(), [kind](const Item& item) { return item.kind == kind; });
  if (asked_for && !some) {
    std::string reasons;
    for (const Skipped& skipped : listing.skipped) reasons += "\n  " + skipped.reason;
    throw Error(fmt::format("data.{}s: no {} is left to train on; every file was skipped:{}", kind_name(kind),
                            kind_name(kind), reasons));
  }
}

}  // namespace

Listing list_items(const DataOptions& options) {
  if (options.images.empty() && options.videos.empty())
    throw UsageError(
        "data: no images and no videos; give data.images, data.videos or both, e.g. \"images\": [{\"path\": "
        "\"photos\"}]");
  Listing listing;
  for (const SourceOptions& source : options.images) add_source(listing, source, Kind::image, options);
  for (const SourceOptions& source : options.videos) add_source(listing, source, Kind::video, options);
  const auto key = [](const Item& item) {
    return std::make_tuple(item.kind == Kind::video, item.path.generic_string(), item.start_s);
  };
  std::stable_sort(listing.items.begin(), listing.items.end(),
                   [&](const Item& a, const Item& b) { return key(a) < key(b); });
  std::sort(listing.skipped.begin(), listing.skipped.end(),
            [](const Skipped& a, const Skipped& b) { return a.path < b.path; });
  check_left(listing, Kind::image, !options.images.empty());
  check_left(listing, Kind::video, !options.videos.empty());
  return listing;
}

std::string data_hash(const std::vector<Item>& items) {
  Sha256 hash;
  for (const Item& item : items) {
    hash.update(
        fmt::format("{} {} {}\n{}\n", kind_name(item.kind), item.content_hash, item.caption.size(), item.caption));
    for (const double start_s : item.clip_starts_s) hash.update(fmt::format("{} ", start_s));
    hash.update("\n");
  }
  return hash.hex();
}

}  // namespace jointtuner::data
