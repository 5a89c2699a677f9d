// Captions beside media files, or one for a whole source.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace jointtuner::data {

/// x.txt for x.mp4.
std::filesystem::path caption_file(const std::filesystem::path& media);

/// A caption as it will be used: byte order mark and white space around it cut, line breaks and tabs inside become
/// single spaces. Throws Error naming `where` when nothing is left or it is not UTF-8.
std::string clean_caption(std::string_view text, std::string_view where);

/// The caption of a file: `given` (from the config, for the whole source) or its caption file's. Throws Error when
/// there is none, or both.
std::string caption_of(const std::filesystem::path& media, const std::string& given);

}  // namespace jointtuner::data
