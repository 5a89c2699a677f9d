// Prompt -> token ids for a text encoder: what every kind of tokenizer offers.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace jointtuner::text {

/// A token that is recognised where it stands literally in a prompt.
struct SpecialToken {
  std::string text;
  int64_t id = 0;
  bool strip = false;  ///< the white space on both sides belongs to the token
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// The prompt's ids with the tokens that stand before and after a prompt: neither padded nor truncated. Throws Error
  /// with the byte position if `prompt` is not UTF-8.
  virtual std::vector<int64_t> encode(std::string_view prompt) const = 0;

  /// Text of ids, close to what was read: what the model "read". Ids without an entry are an Error.
  virtual std::string decode(const std::vector<int64_t>& ids) const = 0;

  /// encode(), filled with pad_id to max_length. A longer prompt is an Error that gives both counts and the words that
  /// do not fit.
  std::vector<int64_t> padded(std::string_view prompt) const;

  /// Tokens that the text encoder takes, those before and after a prompt included.
  int64_t max_length() const { return framing_.max_length; }

 protected:
  struct Framing {
    int64_t max_length, pad_id;
  };
  explicit Tokenizer(const Framing& framing) : framing_(framing) {}
  Tokenizer(const Tokenizer&) = default;
  Tokenizer(Tokenizer&&) = default;
  Tokenizer& operator=(const Tokenizer&) = default;
  Tokenizer& operator=(Tokenizer&&) = default;

 private:
  Framing framing_;
};

}  // namespace jointtuner::text
