#include "special_tokens.h"

#include "unicode.h"

namespace jointtuner::text {
namespace {

constexpr size_t kNone = std::string_view::npos;

/// Where the white space at `begin` ends.
size_t behind_space(std::string_view text, size_t begin) {
  for (size_t position = begin; position < text.size(); begin = position)
    if (character_class(next_character(text, position)) != CharacterClass::space) break;
  return begin;
}

}  // namespace

void split_at_specials(std::string_view text, const std::vector<SpecialToken>& specials, std::vector<int64_t>& ids,
                       const std::function<void(std::string_view)>& section) {
  std::vector<size_t> next(specials.size());  // where each stands next: not looked for again before that is passed
  for (size_t i = 0; i < specials.size(); ++i) next[i] = text.find(specials[i].text);
  for (size_t begin = 0;;) {
    size_t best = kNone;
    for (size_t i = 0; i < specials.size(); ++i) {
      if (next[i] != kNone && next[i] < begin) next[i] = text.find(specials[i].text, begin);
      if (next[i] == kNone) continue;
      const bool longer = best != kNone && specials[i].text.size() > specials[best].text.size();
      if (best == kNone || next[i] < next[best] || (next[i] == next[best] && longer)) best = i;
    }
    const bool found = best != kNone;
    const size_t where = found ? next[best] : text.size();
    if (where > begin) section(text.substr(begin, where - begin));
    if (!found) return;
    ids.push_back(specials[best].id);
    begin = where + specials[best].text.size();
    if (specials[best].strip) begin = behind_space(text, begin);
  }
}

}  // namespace jointtuner::text
