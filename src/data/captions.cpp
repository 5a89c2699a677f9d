#include "captions.h"

#include <fmt/format.h>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"

namespace jointtuner::data {
namespace fs = std::filesystem;
namespace {

/// Well-formed UTF-8 (RFC 3629), without the control characters that no text has: then it is not a text file.
bool is_text(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const auto lead = static_cast<unsigned char>(bytes[at++]);
    const size_t more = lead < 0x80           ? 0
                        : (lead >> 5) == 0x06 ? 1
                        : (lead >> 4) == 0x0E ? 2
                        : (lead >> 3) == 0x1E ? 3
                                              : 4;
    if (more == 4 || at + more > bytes.size() || lead == 0) return false;
    uint32_t code = more == 0 ? lead : lead & (0x3FU >> more);
    for (size_t i = 0; i < more; ++i) {
      const auto next = static_cast<unsigned char>(bytes[at++]);
      if ((next >> 6) != 0x02) return false;
      code = code << 6 | (next & 0x3FU);
    }
    constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
  }
  return true;
}

}  // namespace

fs::path caption_file(const fs::path& media) { return fs::path(media).replace_extension(".txt"); }

std::string clean_caption(std::string_view text, std::string_view where) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF", kSpace = " \t\r\n\v\f";
  if (!is_text(text)) throw Error(fmt::format("{}: this caption is not UTF-8 text; save it as UTF-8", where));
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos)
    throw Error(fmt::format("{}: this caption is empty; write what is to be seen into it, in one sentence", where));
  text = text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
  std::string caption;
  for (const char letter : text)
    if (letter == ' ' || kSpace.find(letter) == std::string_view::npos)
      caption += letter;  // spaces inside stay as they were typed
    else if (caption.back() != ' ')
      caption += ' ';
  return caption;
}

std::string caption_of(const fs::path& media, const std::string& given) {
  const fs::path file = caption_file(media);
  const bool has_file = fs::exists(file);
  if (!given.empty()) {
    if (has_file)
      throw Error(fmt::format(
          "{}: it has two captions: {} beside it, and its source's \"caption\" in the config; remove one of them",
          media.string(), file.filename().string()));
    return clean_caption(given, "the config's \"caption\" for " + media.string());
  }
  if (!has_file)
    throw Error(fmt::format("{}: no caption found: write one into {}, or give its source a \"caption\" in the config",
                            media.string(), file.string()));
  return clean_caption(read_file(file), file.string());
}

}  // namespace jointtuner::data
