#include "jointtuner/text/clip_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>
#include <tuple>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "special_tokens.h"
#include "unicode.h"

namespace jointtuner::text {
namespace {

constexpr std::string_view kWordEnd = "</w>";

std::string utf8(char32_t character) {
  std::string out;
  if (character < 0x80) return std::string(1, static_cast<char>(character));
  out += static_cast<char>(0xc0 | (character >> 6));  // byte letters end at U+0143
  out += static_cast<char>(0x80 | (character & 0x3f));
  return out;
}

/// GPT-2's printable letter for each byte: itself when printable in Latin-1, else the next one from U+0100 on.
std::array<std::string, 256> byte_letters() {
  std::array<std::string, 256> letters;
  char32_t spare = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters[static_cast<size_t>(byte)] = utf8(printable ? static_cast<char32_t>(byte) : spare++);
  }
  return letters;
}

uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

size_t contraction_length(std::string_view text) {
  for (std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.starts_with(ending)) return ending.size();
  return 0;
}

/// Length of the run at `begin` whose characters are of class `wanted`.
size_t run_length(std::string_view text, size_t begin, CharacterClass wanted) {
  size_t end = begin;
  while (end < text.size()) {
    size_t next = end;
    if (character_class(next_character(text, next)) != wanted) break;
    end = next;
  }
  return end - begin;
}

/// Calls piece(view) for each match of the header's expression in normalised text.
template <class Piece>
void for_each_piece(std::string_view text, Piece piece) {
  size_t special_end = 0;  // a special token's spelling is one match, and its "|>" never runs on into what follows
  for (size_t begin = 0; begin < text.size();) {
    const std::string_view rest = text.substr(begin);
    for (std::string_view special : {"<|startoftext|>", "<|endoftext|>"})
      if (begin >= special_end && rest.starts_with(special)) special_end = begin + special.size();
    size_t length = contraction_length(rest);
    bool space = false;
    if (length == 0) {
      size_t next = begin;
      const CharacterClass found = character_class(next_character(text, next));
      space = found == CharacterClass::space;
      length = found == CharacterClass::number ? next - begin : run_length(text, begin, found);
    }
    if (begin < special_end) length = std::min(length, special_end - begin);
    if (!space) piece(text.substr(begin, length));
    begin += length;
  }
}

/// The symbols of one piece, and the merges still possible between neighbours.
class PieceMerger {
 public:
  template <class Merges>
  PieceMerger(std::vector<int32_t> symbols, const Merges& merges)
      : symbols_(std::move(symbols)), next_(symbols_.size()), previous_(symbols_.size()) {
    for (size_t i = 0; i < symbols_.size(); ++i) {
      next_[i] = i + 1 < symbols_.size() ? i + 1 : kNone;
      previous_[i] = i > 0 ? i - 1 : kNone;
    }
    for (size_t i = 0; i < symbols_.size(); ++i) offer(i, merges);
    while (!offers_.empty()) {
      const Offer best = offers_.top();
      offers_.pop();
      if (still_holds(best)) apply(best, merges);
    }
  }

  void append_to(std::vector<int64_t>& ids) const {
    for (size_t i = 0; i != kNone && i < symbols_.size(); i = next_[i]) ids.push_back(symbols_[i]);
  }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  struct Offer {
    int32_t rank;
    size_t position;
    int32_t left, right, result;
    bool operator<(const Offer& other) const { return std::tie(other.rank, other.position) < std::tie(rank, position); }
  };

  template <class Merges>
  void offer(size_t left, const Merges& merges) {
    if (left == kNone || next_[left] == kNone) return;
    const int32_t a = symbols_[left], b = symbols_[next_[left]];
    if (const auto found = merges.find(pair_key(a, b)); found != merges.end())
      offers_.push({found->second.rank, left, a, b, found->second.result});
  }

  bool still_holds(const Offer& o) const {
    return symbols_[o.position] == o.left && next_[o.position] != kNone && symbols_[next_[o.position]] == o.right;
  }

  template <class Merges>
  void apply(const Offer& o, const Merges& merges) {
    const size_t left = o.position, right = next_[left];
    symbols_[left] = o.result;
    symbols_[right] = -1;  // gone: no offer names -1
    next_[left] = next_[right];
    if (next_[left] != kNone) previous_[next_[left]] = left;
    offer(previous_[left], merges);
    offer(left, merges);
  }

  std::vector<int32_t> symbols_;
  std::vector<size_t> next_, previous_;
  std::priority_queue<Offer> offers_;
};

[[noreturn]] void bad_file(const std::filesystem::path& path, const std::string& what) {
  throw Error(
      fmt::format("{}: {}: take vocab.json and merges.txt from the same CLIP tokenizer, or export the backbone again",
                  path.string(), what));
}

}  // namespace

ClipTokenizer::ClipTokenizer(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                             const ClipTokenizerOptions& options)
    : Tokenizer({options.max_length, options.pad_id}), options_(options) {
  if (options_.max_length < 2)
    throw Error(
        fmt::format("the tokenizer's max_length is {}: expected at least 2, for the tokens before and after a prompt",
                    options_.max_length));
  read_vocabulary(vocab);
  read_merges(merges);
  collect_special_tokens(vocab);
}

void ClipTokenizer::read_vocabulary(const std::filesystem::path& path) {
  nlohmann::json document;
  try {
    document = nlohmann::json::parse(read_file(path));
  } catch (const nlohmann::json::exception& error) {
    bad_file(path, fmt::format("not valid JSON ({})", error.what()));
  }
  if (!document.is_object()) bad_file(path, "expected a JSON object that maps each token to its id");
  for (const auto& [token, id] : document.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
      bad_file(path, fmt::format("token \"{}\" has id {}: expected a non-negative 32-bit integer", token, id.dump()));
    ids_.emplace(token, id.get<int32_t>());
    const auto [other, fresh] = tokens_.emplace(id.get<int64_t>(), token);
    if (!fresh)
      bad_file(path, fmt::format("tokens \"{}\" and \"{}\" share the id {}", other->second, token, id.dump()));
  }
  const std::array<std::string, 256> letters = byte_letters();
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto plain = ids_.find(letters[byte]), last = ids_.find(letters[byte] + std::string(kWordEnd));
    if (plain == ids_.end() || last == ids_.end())
      bad_file(path,
               fmt::format(
                   "no token for byte 0x{:02x} (\"{}{}\"): this is not the vocabulary of a byte-level CLIP tokenizer",
                   byte, letters[byte], plain == ids_.end() ? "" : kWordEnd));
    byte_ids_[byte] = plain->second;
    last_byte_ids_[byte] = last->second;
  }
}

void ClipTokenizer::read_merges(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  int32_t rank = 0;
  int64_t line_number = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    std::string_view line = std::string_view(bytes).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string_view::npos) {
      bad_file(path, fmt::format("line {}: expected two tokens with one space between them, found \"{}\"", line_number,
                                 line));
    }
    const std::string left(line.substr(0, space)), right(line.substr(space + 1));
    std::array<int32_t, 3> ids{};
    const std::array<std::string, 3> names{left, right, left + right};
    for (size_t i = 0; i < names.size(); ++i) {
      const auto found = ids_.find(names[i]);
      if (found == ids_.end())
        bad_file(path, fmt::format("line {}: token \"{}\" is not in the vocabulary", line_number, names[i]));
      ids[i] = found->second;
    }
    if (!merges_.emplace(pair_key(ids[0], ids[1]), Merge{rank, ids[2]}).second)
      bad_file(path, fmt::format("line {}: the merge \"{}\" is listed a second time", line_number, line));
    ++rank;
  }
}

void ClipTokenizer::collect_special_tokens(const std::filesystem::path& vocab) {
  const std::array<std::pair<const char*, int64_t>, 3> specials{
      {{"bos_id", options_.bos_id}, {"eos_id", options_.eos_id}, {"pad_id", options_.pad_id}}};
  for (const auto& [name, id] : specials) {
    const auto found = tokens_.find(id);
    if (found == tokens_.end())
      bad_file(vocab, fmt::format("the bundle's {} is {}, and the vocabulary has no such id", name, id));
    const auto& wanted = options_.normalized_ids;
    const bool after = std::find(wanted.begin(), wanted.end(), id) != wanted.end();
    std::vector<SpecialToken>& list = after ? normalized_ : exact_;
    const auto same = [required = id](const SpecialToken& s) { return s.id == required; };
    if (std::none_of(list.begin(), list.end(), same)) list.push_back({.text = found->second, .id = id});
  }
}

std::vector<int64_t> ClipTokenizer::encode(std::string_view prompt) const {
  for (size_t position = 0; position < prompt.size();) next_character(prompt, position);  // throws unless it is UTF-8
  std::vector<int64_t> ids{options_.bos_id};
  split_at_specials(prompt, exact_, ids, [&](std::string_view section) { encode_section(section, ids); });
  ids.push_back(options_.eos_id);
  return ids;
}

void ClipTokenizer::encode_section(std::string_view raw, std::vector<int64_t>& ids) const {
  const std::string text = normalized(raw);
  split_at_specials(text, normalized_, ids, [&](std::string_view section) {
    for_each_piece(section, [&](std::string_view piece) { encode_piece(piece, ids); });
  });
}

void ClipTokenizer::encode_piece(std::string_view piece, std::vector<int64_t>& ids) const {
  std::vector<int32_t> symbols(piece.size());
  for (size_t i = 0; i < piece.size(); ++i) {
    const auto byte = static_cast<unsigned char>(piece[i]);
    symbols[i] = i + 1 == piece.size() ? last_byte_ids_[byte] : byte_ids_[byte];
  }
  PieceMerger(std::move(symbols), merges_).append_to(ids);
}

std::string ClipTokenizer::decode(const std::vector<int64_t>& ids) const {
  static const std::unordered_map<std::string, char> bytes = [] {
    std::unordered_map<std::string, char> map;
    const std::array<std::string, 256> letters = byte_letters();
    for (size_t byte = 0; byte < 256; ++byte) map.emplace(letters[byte], static_cast<char>(byte));
    return map;
  }();
  std::string text;
  for (int64_t id : ids) {
    const auto found = tokens_.find(id);
    if (found == tokens_.end())
      throw Error(fmt::format("token id {} is not in the vocabulary of {} tokens", id, tokens_.size()));
    std::string_view token = found->second;
    const bool ends_word = token.ends_with(kWordEnd) && token.size() > kWordEnd.size();
    if (ends_word) token.remove_suffix(kWordEnd.size());
    for (size_t i = 0; i < token.size();) {
      const size_t begin = i;
      next_character(token, i);
      const auto letter = bytes.find(std::string(token.substr(begin, i - begin)));
      text += letter == bytes.end() ? std::string(token.substr(begin, i - begin)) : std::string(1, letter->second);
    }
    if (ends_word) text += ' ';
  }
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

}  // namespace jointtuner::text
