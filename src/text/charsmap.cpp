#include "charsmap.h"

#include <fmt/format.h>

#include "graphemes.h"
#include "jointtuner/base/error.h"
#include "unicode.h"

namespace jointtuner::text {
namespace {

uint32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return value;
}

/// The parts of one element of the double array.
uint32_t label(uint32_t unit) { return unit & 0x800000ffU; }
uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & 0x200U) >> 6); }
bool has_leaf(uint32_t unit) { return (unit >> 8) & 1; }
uint32_t leaf_value(uint32_t unit) { return unit & 0x7fffffffU; }

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  if (bytes.empty()) return;
  const size_t size = bytes.size() < 4 ? bytes.size() : little_endian(bytes, 0);
  if (size % 4 != 0 || size == 0 || size > bytes.size() - 4)
    throw Error(fmt::format("its character map of {} bytes is damaged", bytes.size()));
  for (size_t at = 4; at < 4 + size; at += 4) trie_.push_back(little_endian(bytes, at));
  replacements_ = bytes.substr(4 + size);
}

std::optional<std::string_view> Charsmap::replacement(std::string_view text) const {
  if (trie_.empty()) return std::nullopt;
  size_t node = offset(trie_[0]);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    node ^= byte;
    if (node >= trie_.size() || label(trie_[node]) != byte) return std::nullopt;
    const bool leaf = has_leaf(trie_[node]);
    node ^= offset(trie_[node]);
    if (!leaf) continue;
    const size_t begin = node < trie_.size() ? leaf_value(trie_[node]) : replacements_.size();
    if (begin >= replacements_.size()) return std::nullopt;
    return std::string_view(replacements_).substr(begin, replacements_.find('\0', begin) - begin);
  }
  return std::nullopt;
}

std::string Charsmap::normalized(std::string_view text) const {
  constexpr size_t kLongest = 5;  // bytes of a cluster that is looked up as a whole
  if (trie_.empty()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = grapheme_end(text, begin);
    if (end - begin <= kLongest) {
      if (const auto whole = replacement(text.substr(begin, end - begin))) {
        out += *whole;
        continue;
      }
    }
    for (size_t at = begin, next = begin; at < end; at = next) {
      next_character(text, next);
      const std::string_view character = text.substr(at, next - at);
      out += replacement(character).value_or(character);
    }
  }
  return out;
}

}  // namespace jointtuner::text
