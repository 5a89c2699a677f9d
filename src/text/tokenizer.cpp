#include "jointtuner/text/tokenizer.h"

#include <fmt/format.h>

#include "jointtuner/base/error.h"

namespace jointtuner::text {
namespace {

/// The beginning of a text that may start within a character, short enough for a message.
std::string shown(std::string_view text) {
  constexpr size_t kBytes = 160;
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  while (!text.empty() && continues(text.front())) text.remove_prefix(1);
  if (text.size() <= kBytes) return std::string(text);
  size_t end = kBytes;
  while (end > 0 && continues(text[end])) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace

std::vector<int64_t> Tokenizer::padded(std::string_view prompt) const {
  std::vector<int64_t> ids = encode(prompt);
  const auto limit = static_cast<size_t>(framing_.max_length);
  if (ids.size() > limit)
    throw Error(
        fmt::format("the prompt has {} tokens and the text encoder takes {} (both counted with what is put before and "
                    "after a prompt); what does not fit begins with \"{}\": shorten the prompt",
                    ids.size(), limit, shown(decode({ids.begin() + framing_.max_length - 1, ids.end() - 1}))));
  ids.resize(limit, framing_.pad_id);
  return ids;
}

}  // namespace jointtuner::text
