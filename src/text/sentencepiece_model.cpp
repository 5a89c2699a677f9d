#include "sentencepiece_model.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <optional>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"

namespace jointtuner::text {
namespace {

[[noreturn]] void bad_model(const std::filesystem::path& path, const std::string& what) {
  throw Error(fmt::format("{}: {}: take spiece.model from the tokenizer of the backbone, or export the backbone again",
                          path.string(), what));
}

/// The library's header has no words for two facts that its file format has: they are taken from the protocol buffer,
/// which the library has read before. Field numbers: sentencepiece_model.proto.
constexpr uint64_t kTrainerSpec = 2, kModelType = 3, kNormalizerSpec = 3, kCharsmap = 2;
constexpr uint64_t kUnigram = 1;

class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  /// The last occurrence of a field with a number or with bytes; nullopt if it is not there.
  static std::optional<uint64_t> number(std::string_view bytes, uint64_t field) {
    std::optional<uint64_t> found;
    for (Message m(bytes); m.next();)
      if (m.field_ == field && m.kind_ == 0) found = m.value_;
    return found;
  }
  static std::string_view bytes(std::string_view bytes, uint64_t field) {
    std::string_view found;
    for (Message m(bytes); m.next();)
      if (m.field_ == field && m.kind_ == 2) found = m.bytes_;
    return found;
  }

 private:
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field_ = key >> 3, kind_ = key & 7;
    if (kind_ == 0) {
      value_ = varint();
      return true;
    }
    const uint64_t size = kind_ == 2 ? varint() : kind_ == 1 ? 8 : kind_ == 5 ? 4 : rest_.size() + 1;
    if (size > rest_.size()) return false;
    bytes_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value;
  }

  std::string_view rest_, bytes_;
  uint64_t field_ = 0, kind_ = 0, value_ = 0;
};

}  // namespace

SentencePieceModel read_sentencepiece_model(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  sentencepiece::SentencePieceProcessor processor;
  if (const auto status = processor.LoadFromSerializedProto(bytes); !status.ok())
    bad_model(path, fmt::format("not a SentencePiece model, or damaged ({})", status.ToString()));
  const uint64_t type = Message::number(Message::bytes(bytes, kTrainerSpec), kModelType).value_or(kUnigram);
  if (type != kUnigram) bad_model(path, fmt::format("a SentencePiece model of type {} (expected 1, unigram)", type));
  SentencePieceModel model{.pieces = {},
                           .unk_id = processor.unk_id(),
                           .charsmap = std::string(Message::bytes(Message::bytes(bytes, kNormalizerSpec), kCharsmap))};
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    if (processor.IsByte(id))
      bad_model(path,
                fmt::format("piece {} (\"{}\") stands for a byte: a model that falls back to bytes is not supported",
                            id, processor.IdToPiece(id)));
    model.pieces.push_back({processor.IdToPiece(id), processor.GetScore(id)});
  }
  return model;
}

}  // namespace jointtuner::text
