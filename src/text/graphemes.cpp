#include "graphemes.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <iterator>

#include "unicode.h"

namespace jointtuner::text {
namespace {

struct Range {
  char32_t first, last;
};

template <size_t N>
bool contains(const Range (&ranges)[N], char32_t c) {
  const Range* found = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                        [](char32_t value, const Range& range) { return value < range.first; });
  return found != std::begin(ranges) && c <= std::prev(found)->last;
}

/// Marks that Unicode 15.1 to 17 added, or made marks.
constexpr Range kAddedMarks[] = {
    {0x897, 0x897},     {0x1acf, 0x1add},   {0x1ae0, 0x1aeb},   {0x10d69, 0x10d6d}, {0x10efa, 0x10efc},
    {0x113b8, 0x113c0}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113d0},
    {0x113d2, 0x113d2}, {0x113e1, 0x113e2}, {0x11b60, 0x11b67}, {0x11f5a, 0x11f5a}, {0x1611e, 0x1612f},
    {0x1e5ee, 0x1e5ef}, {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6}, {0x1e6ee, 0x1e6ef}, {0x1e6f5, 0x1e6f5},
};
/// Vowels that Unicode 16 added to those that form syllables.
constexpr Range kAddedVowels[] = {{0x16d63, 0x16d63}, {0x16d67, 0x16d6a}};
/// Viramas and stackers: what joins two consonants.
constexpr Range kLinkers[] = {
    {0x94d, 0x94d},     {0x9cd, 0x9cd},     {0xacd, 0xacd},     {0xb4d, 0xb4d},     {0xc4d, 0xc4d},
    {0xd4d, 0xd4d},     {0x1039, 0x1039},   {0x17d2, 0x17d2},   {0x1a60, 0x1a60},   {0x1b44, 0x1b44},
    {0x1bab, 0x1bab},   {0xa9c0, 0xa9c0},   {0xaaf6, 0xaaf6},   {0x10a3f, 0x10a3f}, {0x11133, 0x11133},
    {0x113d0, 0x113d0}, {0x1193e, 0x1193e}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11f42, 0x11f42},
};

int32_t property(char32_t c, UProperty which) { return u_getIntPropertyValue(static_cast<UChar32>(c), which); }

int32_t break_class(char32_t c) {
  if (contains(kAddedMarks, c)) return U_GCB_EXTEND;
  if (contains(kAddedVowels, c)) return U_GCB_V;
  if (c == 0x113d1) return U_GCB_PREPEND;
  if (c == 0x11a3a) return U_GCB_OTHER;
  return property(c, UCHAR_GRAPHEME_CLUSTER_BREAK);
}

bool is_pictograph(char32_t c) {
  const auto code = static_cast<UChar32>(c);
  return u_hasBinaryProperty(code, UCHAR_EXTENDED_PICTOGRAPHIC) &&
         (u_hasBinaryProperty(code, UCHAR_EMOJI) || !u_isdefined(code));
}

bool is_control(int32_t c) { return c == U_GCB_CONTROL || c == U_GCB_CR || c == U_GCB_LF; }

/// What the rules ask about the characters of the cluster so far.
class Cluster {
 public:
  explicit Cluster(char32_t first) { append(first, break_class(first)); }

  /// Whether `next` belongs to it too; appends it then.
  bool joins(char32_t next) {
    const int32_t type = break_class(next);
    if (!joins(next, type)) return false;
    append(next, type);
    return true;
  }

 private:
  bool joins(char32_t next, int32_t type) const {
    if (last_ == U_GCB_CR && type == U_GCB_LF) return true;   // GB3
    if (is_control(last_) || is_control(type)) return false;  // GB4, GB5
    if (last_ == U_GCB_L && (type == U_GCB_L || type == U_GCB_V || type == U_GCB_LV || type == U_GCB_LVT)) return true;
    if ((last_ == U_GCB_LV || last_ == U_GCB_V) && (type == U_GCB_V || type == U_GCB_T)) return true;  // GB7
    if ((last_ == U_GCB_LVT || last_ == U_GCB_T) && type == U_GCB_T) return true;                      // GB8
    if (type == U_GCB_EXTEND || type == U_GCB_ZWJ || type == U_GCB_SPACING_MARK) return true;          // GB9, GB9a
    if (last_ == U_GCB_PREPEND) return true;                                                           // GB9b
    if (linked_ && is_consonant(next)) return true;                                                    // GB9c
    if (last_ == U_GCB_ZWJ && after_pictograph_ && is_pictograph(next)) return true;                   // GB11
    return type == U_GCB_REGIONAL_INDICATOR && odd_regional_;                                          // GB12
  }

  void append(char32_t c, int32_t type) {
    const bool mark = type == U_GCB_EXTEND || type == U_GCB_ZWJ;
    if (!mark) after_pictograph_ = is_pictograph(c);
    odd_regional_ = type == U_GCB_REGIONAL_INDICATOR && !odd_regional_;
    if (is_consonant(c))
      after_consonant_ = true, linked_ = false;
    else if (contains(kLinkers, c))
      linked_ = after_consonant_;
    else if (!mark || c == 0x200c)
      after_consonant_ = linked_ = false;
    last_ = type;
  }

  static bool is_consonant(char32_t c) {
    return c >= 0x900 && property(c, UCHAR_INDIC_SYLLABIC_CATEGORY) == U_INSC_CONSONANT;
  }

  int32_t last_ = U_GCB_OTHER;
  bool after_pictograph_ = false;                  ///< pictograph, then marks and joiners only
  bool odd_regional_ = false;                      ///< an odd number of regional indicators
  bool after_consonant_ = false, linked_ = false;  ///< consonant, then marks; the same with a linker among them
};

}  // namespace

size_t grapheme_end(std::string_view text, size_t begin) {
  const auto plain = [&](size_t at) { return text[at] >= ' ' && text[at] <= '~'; };
  if (plain(begin) && (begin + 1 == text.size() || plain(begin + 1))) return begin + 1;
  size_t end = begin;
  Cluster cluster(next_character(text, end));
  for (size_t next = end; end < text.size(); end = next)
    if (!cluster.joins(next_character(text, next))) break;
  return end;
}

}  // namespace jointtuner::text
