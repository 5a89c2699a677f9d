// SentencePiece unigram tokens with an end token: prompt -> token ids, equal to those of transformers' T5Tokenizer
// (5.23.0 with tokenizers 0.23.3) on the same spiece.model.
//
// What that tokenizer does, in this order (it reads the model but segments in its own way, and that is followed here):
//   1. special tokens that stand literally in the text become their id (leftmost, longest first), with `strip` the
//      white space around them too;
//   2. what lies between them is normalised by the model's character map (nmt_nfkc for T5: compatibility characters to
//      plain ones, control characters and white space of all kinds to spaces), a grapheme cluster at a time;
//   3. it is split at white space, each word gets a "▁" in front and is cut before each further "▁";
//   4. a word becomes the pieces whose log-probabilities have the highest sum (Viterbi, in fp64). Characters that no
//      piece has become unk, one for a run of them.
// White space at the ends and runs of it therefore change nothing. Unlike in SentencePiece itself, control pieces
// ("</s>") and the special tokens behind the model's last piece take part in 4 with their scores (0), so that
// "＜/s＞", which 2 turns into "</s>", is the end token as well.
// Source: transformers/models/t5/tokenization_t5.py; tests/text compares 15,000 lines, and every Unicode code point.
#pragma once
#include <filesystem>
#include <memory>

#include "jointtuner/text/tokenizer.h"

namespace jointtuner::text {

struct SentencePieceTokenizerOptions {
  int64_t max_length = 226;  ///< tokens the text encoder takes, eos included; at least 1
  int64_t eos_id = 1;        ///< put after a prompt
  int64_t pad_id = 0;        ///< fills up to max_length
  /// Ids below the model's number of pieces name those pieces; the others follow them without a gap (<extra_id_0>...).
  std::vector<SpecialToken> special_tokens;
};

class SentencePieceTokenizer : public Tokenizer {
 public:
  // Reads a SentencePiece model (spiece.model). Throws Error, naming the file, if it is missing, damaged or no such
  // model, if it is not a unigram model or falls back to bytes (T5's does neither), if eos or pad are no ids of it, or
  // if a special token contradicts it: another text at that id, another id for that text, an id or text given twice, a
  // gap behind the pieces.
  SentencePieceTokenizer(const std::filesystem::path& model, const SentencePieceTokenizerOptions& options);
  ~SentencePieceTokenizer() override;
  SentencePieceTokenizer(SentencePieceTokenizer&&) noexcept;
  SentencePieceTokenizer& operator=(SentencePieceTokenizer&&) noexcept;

  /// The prompt's ids, eos.
  std::vector<int64_t> encode(std::string_view prompt) const override;

  /// "▁" as a space; special tokens and unk by their names.
  std::string decode(const std::vector<int64_t>& ids) const override;

  /// Pieces of the model and special tokens behind them.
  int64_t vocabulary_size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::text
