#include "unigram.h"

#include <algorithm>

#include "unicode.h"

namespace jointtuner::text {
namespace {

constexpr double kUnkPenalty = 10;
constexpr size_t kNone = static_cast<size_t>(-1);

/// The best way to reach a position of the word.
struct Reached {
  double score = 0;
  size_t from = kNone;
  int64_t id = 0;
};

}  // namespace

Unigram::Unigram(std::vector<Piece> pieces, int64_t unk_id) : pieces_(std::move(pieces)), unk_id_(unk_id) {
  double lowest = 0;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    ids_.emplace(pieces_[i].text, static_cast<int64_t>(i));
    longest_ = std::max(longest_, pieces_[i].text.size());
    lowest = i == 0 ? pieces_[i].score : std::min(lowest, pieces_[i].score);
  }
  unk_score_ = lowest - kUnkPenalty;
}

void Unigram::encode(std::string_view word, std::vector<int64_t>& ids) const {
  std::vector<Reached> reached(word.size() + 1);
  for (size_t begin = 0, character_end = 0; begin < word.size(); begin = character_end) {
    next_character(word, character_end);
    const auto offer = [&, here = reached[begin].score](size_t end, int64_t id, double score) {
      if (reached[end].from == kNone || here + score > reached[end].score) reached[end] = {here + score, begin, id};
    };
    const size_t most = std::min(word.size(), begin + longest_);
    bool alone = false;  // the character is a piece
    for (size_t end = character_end; end <= most;) {
      if (const auto found = ids_.find(word.substr(begin, end - begin)); found != ids_.end()) {
        offer(end, found->second, pieces_[static_cast<size_t>(found->second)].score);
        alone = alone || end == character_end;
      }
      if (end == word.size()) break;
      next_character(word, end);
    }
    if (!alone) offer(character_end, unk_id_, unk_score_);
  }
  const size_t first = ids.size();
  for (size_t end = word.size(); end > 0; end = reached[end].from) {
    const bool again = reached[end].id == unk_id_ && ids.size() > first && ids.back() == unk_id_;
    if (!again) ids.push_back(reached[end].id);
  }
  std::reverse(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end());
}

}  // namespace jointtuner::text
