// Special tokens that stand literally in a text.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "jointtuner/text/tokenizer.h"

namespace jointtuner::text {

/// Goes through `text` from left to right: appends the id of each special token found (leftmost, longest first) and
/// calls section(what lies between two of them), unless that is empty. The white space behind a token that strips is
/// left out; that before it is not, since no tokenizer here makes anything of white space at the end of a section.
void split_at_specials(std::string_view text, const std::vector<SpecialToken>& specials, std::vector<int64_t>& ids,
                       const std::function<void(std::string_view)>& section);

}  // namespace jointtuner::text
