#include "media_file.h"

#include <fmt/format.h>

#include "jointtuner/base/error.h"

namespace jointtuner::media {
namespace fs = std::filesystem;

void check_media_file(const fs::path& path, std::string_view kind) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (status.type() == fs::file_type::not_found)
    throw Error(fmt::format("{}: expected {}, found no such file; check the path", path.string(), kind));
  if (failure)
    throw Error(fmt::format("{}: expected {}, but it cannot be looked at: {}", path.string(), kind, failure.message()));
  if (!fs::is_regular_file(status))
    throw Error(fmt::format("{}: expected {}, found {}", path.string(), kind,
                            fs::is_directory(status) ? "a folder" : "something that is not a regular file"));
  const auto bytes = fs::file_size(path, failure);
  if (failure) throw Error(fmt::format("{}: cannot read its size: {}", path.string(), failure.message()));
  if (bytes == 0)
    throw Error(fmt::format("{}: expected {}, found an empty file (0 bytes); copy it again", path.string(), kind));
}

std::string beginning(std::string_view bytes) {
  std::string shown;
  for (const char byte : bytes.substr(0, 24)) shown += byte >= 32 && byte < 127 ? byte : '.';
  return "'" + shown + "'";
}

}  // namespace jointtuner::media
