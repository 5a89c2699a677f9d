// The lines of tests/goldens/make/clip_tokens.py, which follow from their number: the same recipe in C++.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace jointtuner::text_test {

inline std::string utf8(uint32_t c) {
  std::string s;
  const auto byte = [&](uint32_t b) { s += static_cast<char>(b); };
  if (c < 0x80)
    byte(c);
  else if (c < 0x800)
    byte(0xc0 | (c >> 6)), byte(0x80 | (c & 0x3f));
  else if (c < 0x10000)
    byte(0xe0 | (c >> 12)), byte(0x80 | ((c >> 6) & 0x3f)), byte(0x80 | (c & 0x3f));
  else
    byte(0xf0 | (c >> 18)), byte(0x80 | ((c >> 12) & 0x3f)), byte(0x80 | ((c >> 6) & 0x3f)), byte(0x80 | (c & 0x3f));
  return s;
}

inline bool is_surrogate(uint32_t c) { return c >= 0xd800 && c < 0xe000; }

struct Recipe {
  explicit Recipe(const nlohmann::json& j)
      : lines(j.at("lines")),
        words(j.at("words")),
        nasty(j.at("nasty")),
        separators(j.at("separators")),
        ranges(j.at("ranges")) {}

  std::string line(uint64_t index) const {
    uint64_t state = index;
    const auto below = [&state](uint64_t count) {  // splitmix64
      state += 0x9E3779B97F4A7C15ULL;
      uint64_t z = state;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
      return (z ^ (z >> 31)) % count;
    };
    const uint64_t fragments = index % 64 == 63 ? 1100 : 1 + below(40);
    std::string out;
    for (uint64_t i = 0; i < fragments; ++i) {
      const uint64_t kind = below(8);
      if (kind < 4) {
        out += words[below(words.size())];
      } else if (kind < 6) {
        out += nasty[below(nasty.size())];
      } else {
        const auto& range = ranges[below(ranges.size())];
        const auto code = static_cast<uint32_t>(range[0] + below(range[1] - range[0] + 1));
        out += utf8(is_surrogate(code) ? 0xfffd : code);
      }
      out += separators[below(separators.size())];
    }
    return out;
  }

  uint64_t lines;
  std::vector<std::string> words, nasty, separators;
  std::vector<std::vector<uint64_t>> ranges;
};

/// 64 code points from `first` on, each between letters, digits and marks.
inline std::string code_point_line(uint32_t first) {
  std::string out;
  for (uint32_t c = first; c < first + 64; ++c) {
    if (is_surrogate(c)) continue;
    const std::string s = utf8(c);
    out.append("a").append(s).append("1").append(s).append(".").append(s).append("X ");
  }
  return out;
}

inline uint32_t fnv1a(const std::vector<int64_t>& ids, uint32_t value = 0x811C9DC5U) {
  for (int64_t id : ids)
    for (int shift = 0; shift < 32; shift += 8)
      value = (value ^ ((static_cast<uint32_t>(id) >> shift) & 0xff)) * 0x01000193U;
  return value;
}

}  // namespace jointtuner::text_test
