// What every reader asks of a path first, and how a file's beginning looks in a message.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace jointtuner::media {

/// Throws Error that names the path unless it is a regular file with at least one byte. `kind`: "a picture", "a video".
void check_media_file(const std::filesystem::path& path, std::string_view kind);

/// The first bytes, printable ones as they are: 'hello w.r.d'.
std::string beginning(std::string_view bytes);

}  // namespace jointtuner::media
