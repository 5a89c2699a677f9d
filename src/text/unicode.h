// The Unicode facts that tokenizers 0.23.3 works by, whatever version the system's ICU has: its normaliser knows
// Unicode 9, its regular expressions Unicode 16, its lower-casing Unicode 17. Each is checked for every code point by
// tests/text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace jointtuner::text {

enum class CharacterClass { letter /* \p{L} */, number /* \p{N} */, space /* \s */, other };

CharacterClass character_class(char32_t character);

/// One UTF-8 character of `text` at `position`, which moves behind it. Throws Error with the byte position on anything
/// that is not UTF-8: a stray or missing continuation byte, an overlong form, a surrogate, a value above U+10FFFF.
char32_t next_character(std::string_view text, size_t& position);

/// NFC, then each run of white space as one space, then lower case character by character (no context: a final sigma of
/// a word in capitals becomes a medial one). `text` is valid UTF-8.
std::string normalized(std::string_view text);

}  // namespace jointtuner::text
