// The normalisation that a SentencePiece model brings along ("nmt_nfkc" for T5), applied as tokenizers 0.23.3 applies
// it.
//
// The map is a list of rules (string -> string) as [size of the trie in bytes: u32][trie: u32...][replacements, each
// ended by NUL], little-endian; the trie is a double array as of the Darts-clone library. A grapheme cluster of less
// than 6 bytes is replaced as a whole by the rule for its shortest prefix that has one: with a rule for "²" a "²" with
// an accent loses the accent. Where there is none, and in longer clusters, each character is replaced by its own rule,
// if it has one. SentencePiece itself takes the longest match at each position instead. Source:
// normalizers/precompiled.rs of tokenizers and its crate spm_precompiled.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace jointtuner::text {

class Charsmap {
 public:
  // `bytes`: precompiled_charsmap of a model; empty: no normalisation. Throws Error if the trie is longer than `bytes`.
  explicit Charsmap(std::string_view bytes);

  /// `text` is valid UTF-8.
  std::string normalized(std::string_view text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view text) const;

  std::vector<uint32_t> trie_;
  std::string replacements_;
};

}  // namespace jointtuner::text
