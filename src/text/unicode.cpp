#include "unicode.h"

#include <fmt/format.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <iterator>

#include "jointtuner/base/error.h"

namespace jointtuner::text {
namespace {

struct ClassRange {
  char32_t first, last;
  CharacterClass value;
};

/// Letters and numbers that Unicode 15.1 and 16 added; older ones are taken from ICU.
constexpr CharacterClass kLetter = CharacterClass::letter, kNumber = CharacterClass::number;
constexpr ClassRange kAdded[] = {
    {0x1c89, 0x1c8a, kLetter},   {0xa7cb, 0xa7cd, kLetter},   {0xa7da, 0xa7dc, kLetter},   {0x105c0, 0x105f3, kLetter},
    {0x10d40, 0x10d49, kNumber}, {0x10d4a, 0x10d65, kLetter}, {0x10d6f, 0x10d85, kLetter}, {0x10ec2, 0x10ec4, kLetter},
    {0x11380, 0x11389, kLetter}, {0x1138b, 0x1138b, kLetter}, {0x1138e, 0x1138e, kLetter}, {0x11390, 0x113b5, kLetter},
    {0x113b7, 0x113b7, kLetter}, {0x113d1, 0x113d1, kLetter}, {0x113d3, 0x113d3, kLetter}, {0x116d0, 0x116e3, kNumber},
    {0x11bc0, 0x11be0, kLetter}, {0x11bf0, 0x11bf9, kNumber}, {0x13460, 0x143fa, kLetter}, {0x16100, 0x1611d, kLetter},
    {0x16130, 0x16139, kNumber}, {0x16d40, 0x16d6c, kLetter}, {0x16d70, 0x16d79, kNumber}, {0x18cff, 0x18cff, kLetter},
    {0x1ccf0, 0x1ccf9, kNumber}, {0x1e5d0, 0x1e5ed, kLetter}, {0x1e5f0, 0x1e5f0, kLetter}, {0x1e5f1, 0x1e5fa, kNumber},
    {0x2ebf0, 0x2ee5d, kLetter},
};

struct LowerRange {
  char32_t first, last, first_lower;
};

/// Capitals that Unicode 16 and 17 added.
constexpr LowerRange kAddedCapitals[] = {
    {0x1c89, 0x1c89, 0x1c8a},    {0xa7cb, 0xa7cb, 0x264},     {0xa7cc, 0xa7cc, 0xa7cd}, {0xa7ce, 0xa7ce, 0xa7cf},
    {0xa7d2, 0xa7d2, 0xa7d3},    {0xa7d4, 0xa7d4, 0xa7d5},    {0xa7da, 0xa7da, 0xa7db}, {0xa7dc, 0xa7dc, 0x19b},
    {0x10d50, 0x10d65, 0x10d70}, {0x16ea0, 0x16eb8, 0x16ebb},
};

template <class Range, size_t N>
const Range* find_range(const Range (&ranges)[N], char32_t character) {
  const Range* found = std::upper_bound(std::begin(ranges), std::end(ranges), character,
                                        [](char32_t c, const Range& range) { return c < range.first; });
  if (found == std::begin(ranges)) return nullptr;
  --found;
  return character <= found->last ? found : nullptr;
}

bool newer_than_15(char32_t character) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(character), age);
  return age[0] == 0 || age[0] > 15 || (age[0] == 15 && age[1] > 0);  // 0: unknown to this ICU
}

void append_lower(icu::UnicodeString& out, char32_t character) {
  if (character == 0x130)  // the one character whose lower case is two: i and a dot above
    out.append(u'i').append(static_cast<UChar>(0x307));
  else if (const LowerRange* range = find_range(kAddedCapitals, character))
    out.append(static_cast<UChar32>(range->first_lower + (character - range->first)));
  else
    out.append(newer_than_15(character) ? static_cast<UChar32>(character) : u_tolower(static_cast<UChar32>(character)));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string normalized_ascii(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_space = false;
  for (char c : text) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!space) out += (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
    if (space && !in_space) out += ' ';
    in_space = space;
  }
  return out;
}

icu::UnicodeString nfc_of_unicode_9(const icu::UnicodeString& text) {
  UErrorCode code = U_ZERO_ERROR;
  static const icu::UnicodeSet known(icu::UnicodeString("[:age=9.0:]"), code);
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(code);
  if (U_FAILURE(code))
    throw Error(fmt::format("ICU cannot normalise text ({}): is its data file installed?", u_errorName(code)));
  icu::UnicodeString out;
  icu::FilteredNormalizer2(*nfc, known).normalize(text, out, code);
  if (U_FAILURE(code)) throw Error(fmt::format("ICU cannot normalise this text ({})", u_errorName(code)));
  return out;
}

}  // namespace

CharacterClass character_class(char32_t character) {
  if (const ClassRange* range = find_range(kAdded, character)) return range->value;
  if (newer_than_15(character)) return CharacterClass::other;
  const auto code = static_cast<UChar32>(character);
  if (u_isUWhiteSpace(code)) return CharacterClass::space;
  const uint32_t category = U_GET_GC_MASK(code);
  if (category & U_GC_L_MASK) return kLetter;
  return (category & U_GC_N_MASK) ? kNumber : CharacterClass::other;
}

char32_t next_character(std::string_view text, size_t& position) {
  const size_t start = position;
  const auto length = static_cast<int64_t>(text.size());
  auto i = static_cast<int64_t>(position);
  UChar32 character = 0;
  U8_NEXT(text.data(), i, length, character);
  if (character < 0)
    throw Error(
        fmt::format("the text is not UTF-8: byte 0x{:02x} at position {} (of {} bytes) cannot stand there: save it as "
                    "UTF-8, or remove that character",
                    static_cast<unsigned char>(text[start]), start, text.size()));
  position = static_cast<size_t>(i);
  return static_cast<char32_t>(character);
}

std::string normalized(std::string_view text) {
  if (is_ascii(text)) return normalized_ascii(text);
  const icu::UnicodeString composed =
      nfc_of_unicode_9(icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size()))));
  icu::UnicodeString lower;
  bool in_space = false;
  for (int32_t i = 0; i < composed.length();) {
    const auto character = static_cast<char32_t>(composed.char32At(i));
    i += U16_LENGTH(static_cast<UChar32>(character));
    const bool space = character_class(character) == CharacterClass::space;
    if (!space) append_lower(lower, character);
    if (space && !in_space) lower.append(u' ');
    in_space = space;
  }
  std::string out;
  lower.toUTF8String(out);
  return out;
}

}  // namespace jointtuner::text
