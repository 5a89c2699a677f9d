// Byte-level BPE of CLIP: prompt -> token ids, equal to those of transformers' CLIPTokenizer (5.23.0 with tokenizers
// 0.23.3).
//
// What that tokenizer does, in this order:
//   1. special tokens that stand literally in the text become their id (leftmost, longest first);
//   2. what lies between them is normalised: NFC, runs of white space to one space, lower case character by character;
//   3. it is split into pieces: <|startoftext|> | <|endoftext|> | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N}
//      | [^\s\p{L}\p{N}]+ ; white space is dropped;
//   4. a piece's UTF-8 bytes, the last one marked as the end of a word, are merged by the rules of merges.txt: always
//      the neighbours of the lowest rank, the leftmost first.
// Source: transformers/models/clip/tokenization_clip.py; tests/text compares 10,000 lines, and every Unicode code
// point.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "jointtuner/text/tokenizer.h"

namespace jointtuner::text {

struct ClipTokenizerOptions {
  int64_t max_length = 77;  ///< tokens the text encoder takes, bos and eos included; at least 2
  int64_t bos_id = 49406;   ///< put before a prompt
  int64_t eos_id = 49407;   ///< put after a prompt
  int64_t pad_id = 49407;   ///< fills up to max_length; its text in a prompt becomes this id too (ZeroScope: "!" = 0)
  /// Those of the three whose spelling also counts after normalisation, so that "<|EndOfText|>" is eos: tokens stored
  /// as AddedToken(normalized=True), as CLIP's and Stable Diffusion's tokenizer files have bos and eos.
  std::vector<int64_t> normalized_ids;
};

class ClipTokenizer : public Tokenizer {
 public:
  // Reads vocab.json (token -> id) and merges.txt ("first second" a line, best rank first; an optional first line
  // "#version..."). Throws Error, naming the file and the line or token, unless the vocabulary holds the 256 byte
  // letters with and without "</w>", ids are distinct and non-negative, each merge's parts and result are entries, no
  // merge is listed twice, and bos, eos and pad ids are entries.
  ClipTokenizer(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                const ClipTokenizerOptions& options);

  /// bos, the prompt's ids, eos.
  std::vector<int64_t> encode(std::string_view prompt) const override;

  /// Words separated by spaces.
  std::string decode(const std::vector<int64_t>& ids) const override;

  const ClipTokenizerOptions& options() const { return options_; }
  int64_t vocabulary_size() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  struct Merge {
    int32_t rank;
    int32_t result;
  };

  void read_vocabulary(const std::filesystem::path& path);
  void read_merges(const std::filesystem::path& path);
  void collect_special_tokens(const std::filesystem::path& vocab);
  void encode_section(std::string_view raw, std::vector<int64_t>& ids) const;
  void encode_piece(std::string_view piece, std::vector<int64_t>& ids) const;

  ClipTokenizerOptions options_;
  std::unordered_map<std::string, int32_t> ids_;           ///< token -> id
  std::unordered_map<int64_t, std::string> tokens_;        ///< id -> token
  std::unordered_map<uint64_t, Merge> merges_;             ///< (left id << 32 | right id) -> rank and id of the result
  std::array<int32_t, 256> byte_ids_{}, last_byte_ids_{};  ///< id of a byte's letter; the same with "</w>"
  std::vector<SpecialToken> exact_, normalized_;           ///< found in the raw text; found after normalisation
};

}  // namespace jointtuner::text
