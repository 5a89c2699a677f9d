#include "jointtuner/backbone/bundle.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "jointtuner/backbone/skeleton.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/cache_folder.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"
#include "jointtuner/base/sha256.h"

namespace jointtuner::backbone {

namespace fs = std::filesystem;

namespace {

constexpr const char* kManifestName = "bundle.json";

/// Identity of a file's present contents without reading them: any write, truncation or replacement changes it.
std::string identity(const fs::path& file, const struct stat& status) {
  return fmt::format("{}\n{} {} {} {}.{:09} {}.{:09}\n", fs::absolute(file).lexically_normal().string(), status.st_dev,
                     status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                     status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

bool is_remembered(const fs::path& note, const std::string& text) {
  std::error_code none;
  return fs::is_regular_file(note, none) && read_file(note) == text;
}

/// Forgetting costs one more hashing later, so a read-only home is no reason to stop.
void remember(const fs::path& note, const std::string& text) {
  try {
    make_folder(note.parent_path());
    write_atomically(note, text);
  } catch (const Error& error) {
    log_debug(fmt::format("verified files are not remembered: {}", error.what()));
  }
}

void check_file(const fs::path& folder, const std::string& name, const FileManifest& expected, Verify verify) {
  const fs::path file = folder / name;
  struct stat status{};
  if (::stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
    throw Error(fmt::format("{}: missing ({}), but {} lists it. Restore the file or export the bundle again.",
                            file.string(), errno ? std::strerror(errno) : "not a file", kManifestName));
  if (status.st_size != expected.bytes)
    throw Error(fmt::format(
        "{}: has {} bytes, expected {}: the file is truncated or another one. Restore it or export the bundle "
        "again.",
        file.string(), status.st_size, expected.bytes));
  if (verify == Verify::sizes) return;
  const std::string text = identity(file, status) + expected.sha256 + "\n";
  const fs::path memory = user_cache_folder();  // of which files were found good; none without a home folder
  const fs::path note =
      memory.empty() ? fs::path() : memory / "verified" / sha256_hex(fs::absolute(file).lexically_normal().string());
  if (verify == Verify::changed && !note.empty() && is_remembered(note, text)) return;
  const std::string found = sha256_file(file);
  if (found != expected.sha256)
    throw Error(fmt::format(
        "{}: has SHA-256 {}, expected {}: the file is damaged or was changed. Restore it or export the bundle "
        "again.",
        file.string(), found, expected.sha256));
  if (!note.empty()) remember(note, text);
}

}  // namespace

Bundle Bundle::open(const fs::path& given, Verify verify) {
  const bool skeleton = given.filename() == kSkeletonName;  // asked for as such (skeleton.h)
  const fs::path path = skeleton ? given.parent_path() : given;
  std::error_code none;
  if (!fs::is_directory(path, none))
    throw Error(
        fmt::format("{}: no such folder; expected a bundle. Write one with scripts/export_backbone.sh DIFFUSERS_DIR {}",
                    path.string(), path.string()));
  if (!skeleton && is_skeleton(path))
    throw Error(
        fmt::format("{}: a skeleton: it has the shapes of a backbone and no weights, so that `jointtuner check` can "
                    "forecast memory, and cannot be used otherwise. Export the real model with "
                    "scripts/export_backbone.sh.",
                    path.string()));
  const fs::path manifest = path / (skeleton ? kSkeletonName : kManifestName);
  if (!fs::is_regular_file(manifest, none))
    throw Error(fmt::format(
        "{}: no {} in it, so it is not a bundle. Write one with scripts/export_backbone.sh DIFFUSERS_DIR BUNDLE",
        path.string(), kManifestName));
  Bundle bundle;
  bundle.path_ = path;
  bundle.manifest_ = parse_manifest(read_file(manifest), manifest.string());
  for (const auto& [name, expected] : bundle.manifest_.files) check_file(path, name, expected, verify);
  return bundle;
}

fs::path Bundle::file(const std::string& name) const {
  sha256(name);
  return path_ / name;
}

const std::string& Bundle::sha256(const std::string& name) const {
  const auto found = manifest_.files.find(name);
  if (found == manifest_.files.end())
    throw Error(fmt::format("{}: the bundle lists no file `{}`", path_.string(), name));
  return found->second.sha256;
}

}  // namespace jointtuner::backbone
