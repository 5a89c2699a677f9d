// A SentencePiece model file, read by libsentencepiece.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "unigram.h"

namespace jointtuner::text {

struct SentencePieceModel {
  std::vector<Piece> pieces;  ///< of every kind, by id
  int64_t unk_id = 0;
  std::string charsmap;  ///< of the normaliser
};

/// Throws Error, naming the file, if it is missing, damaged or no SentencePiece model, if it is not a unigram model, or
/// if it falls back to bytes.
SentencePieceModel read_sentencepiece_model(const std::filesystem::path& path);

}  // namespace jointtuner::text
