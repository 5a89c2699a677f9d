// A bundle: the folder that holds a frozen backbone (bundle.json, TorchScript files, tokenizer files).
#pragma once
#include <filesystem>
#include <string>

#include "jointtuner/backbone/manifest.h"

namespace jointtuner::backbone {

/// How far files are compared with bundle.json on opening.
enum class Verify {
  contents,  ///< SHA-256 of every file, always
  changed,   ///< SHA-256 of the files that changed (size, inode, change time) since the last time they were found good;
             ///< that memory is kept in $XDG_CACHE_HOME/jointtuner/verified (default ~/.cache), and without it all are
             ///< hashed
  sizes,     ///< presence and size only
};

class Bundle {
 public:
  // Opens the bundle in folder `path`. Throws Error (one line: what, where, what to do) if the folder or bundle.json is
  // missing, of another format version, incomplete or inconsistent, or if a file is missing, has another size or
  // another SHA-256.
  static Bundle open(const std::filesystem::path& path, Verify verify = Verify::changed);

  const Manifest& manifest() const { return manifest_; }
  const std::filesystem::path& path() const { return path_; }
  /// Full path and SHA-256 of a file listed in bundle.json, e.g. "denoiser.pt". Throws Error for any other name.
  std::filesystem::path file(const std::string& name) const;
  const std::string& sha256(const std::string& name) const;

 private:
  std::filesystem::path path_;
  Manifest manifest_;
};

}  // namespace jointtuner::backbone
