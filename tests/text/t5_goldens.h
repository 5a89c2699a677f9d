// What tests/goldens/make/t5_tokens.py wrote.
#pragma once
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/text/sentencepiece_tokenizer.h"
#include "line_recipe.h"

namespace jointtuner::text_test {

/// JOINTTUNER_T5_GOLDENS: a folder that t5_tokens.py made from another model.
inline std::filesystem::path t5_goldens() {
  const char* other = std::getenv("JOINTTUNER_T5_GOLDENS");
  return other ? std::filesystem::path(other) : std::filesystem::path(JOINTTUNER_TEST_DATA) / "goldens/text/t5";
}

inline nlohmann::json t5_json(const char* name) { return nlohmann::json::parse(read_file(t5_goldens() / name)); }

/// In this order: lines, lines with special tokens, blocks of code points as ids, the same as normalised texts.
inline std::vector<uint32_t> t5_hashes() {
  const std::string bytes = read_file(t5_goldens() / "hashes.bin");
  std::vector<uint32_t> hashes(bytes.size() / 4);
  std::memcpy(hashes.data(), bytes.data(), hashes.size() * 4);
  return hashes;
}

inline text::SentencePieceTokenizerOptions t5_options() {
  const nlohmann::json recipe = t5_json("recipe.json");
  text::SentencePieceTokenizerOptions options{.max_length = recipe.at("max_length"),
                                              .eos_id = recipe.at("eos_id"),
                                              .pad_id = recipe.at("pad_id"),
                                              .special_tokens = {}};
  for (const auto& token : recipe.at("special_tokens"))
    options.special_tokens.push_back({token.at("text"), token.at("id"), token.at("strip")});
  return options;
}

inline text::SentencePieceTokenizer t5_tokenizer() { return {t5_goldens() / "spiece.model", t5_options()}; }

}  // namespace jointtuner::text_test
