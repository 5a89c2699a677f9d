#include "jointtuner/text/sentencepiece_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "charsmap.h"
#include "jointtuner/base/error.h"
#include "sentencepiece_model.h"
#include "special_tokens.h"
#include "unicode.h"
#include "unigram.h"

namespace jointtuner::text {
namespace {

constexpr std::string_view kSpace = "\u2581";  // SentencePiece's visible space: it marks where a word begins

[[noreturn]] void contradiction(const std::filesystem::path& path, const std::string& what) {
  throw Error(
      fmt::format("{}: {}: the bundle's text section and this file are not of one tokenizer: export the backbone "
                  "again",
                  path.string(), what));
}

/// The model's pieces, and behind them the special tokens that it does not have.
std::vector<Piece> with_specials(std::vector<Piece> pieces, std::vector<SpecialToken> specials,
                                 const std::filesystem::path& path) {
  const auto count = static_cast<int64_t>(pieces.size());
  std::sort(specials.begin(), specials.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  for (const SpecialToken& special : specials) {
    const auto size = static_cast<int64_t>(pieces.size());
    if (special.text.empty()) contradiction(path, fmt::format("special token {} has no text", special.id));
    if (special.id < 0 || special.id > size)
      contradiction(
          path, fmt::format("special token \"{}\" has id {}, and ids end at {}", special.text, special.id, size - 1));
    if (special.id < count) {
      const std::string& piece = pieces[static_cast<size_t>(special.id)].text;
      if (piece != special.text)
        contradiction(path, fmt::format("id {} is special token \"{}\" in the bundle and piece \"{}\" in the model",
                                        special.id, special.text, piece));
    } else if (special.id < size) {
      contradiction(path, fmt::format("special tokens \"{}\" and \"{}\" share the id {}", pieces.back().text,
                                      special.text, special.id));
    } else {
      const auto same = [&](const Piece& piece) { return piece.text == special.text; };
      if (const auto found = std::find_if(pieces.begin(), pieces.end(), same); found != pieces.end())
        contradiction(path, fmt::format("special token \"{}\" has the ids {} and {}", special.text,
                                        found - pieces.begin(), special.id));
      pieces.push_back({special.text, 0});
    }
  }
  return pieces;
}

}  // namespace

struct SentencePieceTokenizer::Impl {
  Impl(const std::filesystem::path& path, SentencePieceModel model, const SentencePieceTokenizerOptions& options)
      : charsmap(model.charsmap),
        unigram(with_specials(std::move(model.pieces), options.special_tokens, path), model.unk_id),
        specials(options.special_tokens),
        eos_id(options.eos_id) {}

  void encode_section(std::string_view raw, std::vector<int64_t>& ids) const {
    const std::string text = charsmap.normalized(raw);
    for (size_t begin = 0, end = 0; end < text.size(); begin = end) {
      size_t next = end = begin;
      const auto at_space = [&] { return character_class(next_character(text, next)) == CharacterClass::space; };
      while (end < text.size() && !at_space()) end = next;
      if (end > begin) encode_word(std::string_view(text).substr(begin, end - begin), ids);
      end = next;
    }
  }

  void encode_word(std::string_view word, std::vector<int64_t>& ids) const {
    std::string marked(word.starts_with(kSpace) ? "" : kSpace);
    marked += word;
    for (size_t begin = 0, end = 0; begin < marked.size(); begin = end) {
      end = std::min(marked.find(kSpace, begin + kSpace.size()), marked.size());
      unigram.encode(std::string_view(marked).substr(begin, end - begin), ids);
    }
  }

  const Charsmap charsmap;
  const Unigram unigram;
  const std::vector<SpecialToken> specials;
  const int64_t eos_id;
};

SentencePieceTokenizer::SentencePieceTokenizer(const std::filesystem::path& model,
                                               const SentencePieceTokenizerOptions& options)
    : Tokenizer({options.max_length, options.pad_id}) {
  if (options.max_length < 1)
    throw Error(fmt::format("the tokenizer's max_length is {}: expected at least 1, for the token after a prompt",
                            options.max_length));
  impl_ = std::make_unique<Impl>(model, read_sentencepiece_model(model), options);
  for (const auto& [name, id] : {std::pair("eos_id", options.eos_id), std::pair("pad_id", options.pad_id)})
    if (id < 0 || id >= vocabulary_size())
      contradiction(model, fmt::format("the bundle's {} is {}, and ids end at {}", name, id, vocabulary_size() - 1));
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;
SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceTokenizer&&) noexcept = default;
SentencePieceTokenizer& SentencePieceTokenizer::operator=(SentencePieceTokenizer&&) noexcept = default;

int64_t SentencePieceTokenizer::vocabulary_size() const { return static_cast<int64_t>(impl_->unigram.pieces().size()); }

std::vector<int64_t> SentencePieceTokenizer::encode(std::string_view prompt) const {
  for (size_t position = 0; position < prompt.size();) next_character(prompt, position);  // throws unless it is UTF-8
  std::vector<int64_t> ids;
  split_at_specials(prompt, impl_->specials, ids,
                    [&](std::string_view section) { impl_->encode_section(section, ids); });
  ids.push_back(impl_->eos_id);
  return ids;
}

std::string SentencePieceTokenizer::decode(const std::vector<int64_t>& ids) const {
  std::string text;
  for (const int64_t id : ids) {
    if (id < 0 || id >= vocabulary_size())
      throw Error(fmt::format("token id {} is not in the vocabulary of {} tokens", id, vocabulary_size()));
    std::string_view piece = impl_->unigram.pieces()[static_cast<size_t>(id)].text;
    for (; piece.starts_with(kSpace); piece.remove_prefix(kSpace.size())) text += ' ';
    text += piece;
  }
  return text.starts_with(' ') ? text.substr(1) : text;
}

}  // namespace jointtuner::text
