// Unigram language model: the best segmentation of a word into pieces, as tokenizers 0.23.3 finds it.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace jointtuner::text {

struct Piece {
  std::string text;
  double score;  ///< log-probability
};

class Unigram {
 public:
  // A piece's id is its place in `pieces`; their texts differ.
  Unigram(std::vector<Piece> pieces, int64_t unk_id);

  /// Appends the ids of the segmentation of `word` whose scores have the highest sum. A character that is no piece may
  /// stand alone as unk, at 10 below the lowest score; neighbouring unks become one. Sums are taken from left to right
  /// in fp64 (SentencePiece: fp32), and of equal ones that found first stays: ids must not depend on rounding.
  void encode(std::string_view word, std::vector<int64_t>& ids) const;

  const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  std::vector<Piece> pieces_;
  std::unordered_map<std::string, int64_t, Hash, std::equal_to<>> ids_;
  int64_t unk_id_;
  double unk_score_;
  size_t longest_ = 0;  ///< bytes
};

}  // namespace jointtuner::text
