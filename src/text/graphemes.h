// What a reader sees as one character: a letter with its marks, a syllable, an emoji sequence.
#pragma once
#include <cstddef>
#include <string_view>

namespace jointtuner::text {

/// Where the extended grapheme cluster that begins at `begin` ends. `begin` is the beginning of the text or the end of
/// another cluster; `text` is valid UTF-8. The rules and the Unicode 17 data are those that tokenizers 0.23.3 works by
/// (UAX #29); of the rules for conjuncts (GB9c) and emoji sequences (GB11) the data are the system ICU's.
size_t grapheme_end(std::string_view text, size_t begin);

}  // namespace jointtuner::text
