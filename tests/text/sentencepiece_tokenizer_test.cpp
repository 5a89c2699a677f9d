#include "jointtuner/text/sentencepiece_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <fmt/format.h>
#include <fstream>

#include "jointtuner/base/error.h"
#include "support/temporary_folder.h"
#include "t5_goldens.h"

namespace jointtuner::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using text_test::fnv1a;
using text_test::t5_goldens;
using text_test::t5_options;
using text_test::t5_tokenizer;

json line_recipe() { return json::parse(read_file(fs::path(JOINTTUNER_TEST_DATA) / "goldens/text/recipe.json")); }

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string failure(const SentencePieceTokenizerOptions& options, const fs::path& model = "") {
  return message_of([&] { SentencePieceTokenizer(model.empty() ? t5_goldens() / "spiece.model" : model, options); });
}

TEST(SentencePieceTokenizer, CasesHaveTheIdsOfTransformers) {
  const SentencePieceTokenizer tokenizer = t5_tokenizer();
  for (const json& example : text_test::t5_json("cases.json")) {
    const std::string text = example.at("text");
    EXPECT_EQ(tokenizer.encode(text), example.at("ids").get<std::vector<int64_t>>()) << text;
  }
}

TEST(SentencePieceTokenizer, FifteenThousandLinesHaveTheIdsOfTransformers) {
  json description = line_recipe();
  const text_test::Recipe plain(description);
  const json more = text_test::t5_json("recipe.json");
  description["lines"] = more.at("lines");
  for (int times = 0; times < 3; ++times)
    for (const json& fragment : more.at("nasty")) description["nasty"].push_back(fragment);
  const text_test::Recipe special(description);
  const SentencePieceTokenizer tokenizer = t5_tokenizer();
  const std::vector<uint32_t> hashes = text_test::t5_hashes();
  ASSERT_EQ(hashes.size(), plain.lines + special.lines + 2 * 272);
  size_t differing = 0, index = 0;
  for (const text_test::Recipe* recipe : {&plain, &special}) {
    for (uint64_t i = 0; i < recipe->lines; ++i) {
      const std::string line = recipe->line(i);
      if (fnv1a(tokenizer.encode(line)) != hashes[index++] && ++differing <= 5)
        ADD_FAILURE() << "line " << i << ": " << line;
    }
  }
  EXPECT_EQ(differing, 0u);
}

TEST(SentencePieceTokenizer, EveryCodePointIsReadAsTransformersReadsIt) {
  const SentencePieceTokenizer tokenizer = t5_tokenizer();
  const std::vector<uint32_t> hashes = text_test::t5_hashes();
  for (uint32_t block = 0; block < 272; ++block) {
    uint32_t hash = fnv1a({});
    for (uint32_t first = block * 4096; first < (block + 1) * 4096; first += 64)
      hash = fnv1a(tokenizer.encode(text_test::code_point_line(first)), hash);
    EXPECT_EQ(hash, hashes[hashes.size() - 2 * 272 + block]) << "code points from " << std::hex << block * 4096;
  }
}

/// Where the two cannot differ, in plain words, SentencePiece's own segmentation is the oracle.
TEST(SentencePieceTokenizer, PlainWordsHaveTheIdsOfSentencePiece) {
  sentencepiece::SentencePieceProcessor processor;
  ASSERT_TRUE(processor.Load((t5_goldens() / "spiece.model").string()).ok());
  const SentencePieceTokenizer tokenizer = t5_tokenizer();
  const text_test::Recipe recipe(line_recipe());
  for (size_t i = 0; i + 3 < recipe.words.size(); ++i) {
    const std::string text = " " + recipe.words[i] + "  " + recipe.words[i + 1] + " " + recipe.words[i + 3] + "\n";
    std::vector<int> wanted;
    ASSERT_TRUE(processor.Encode(text, &wanted).ok());
    wanted.push_back(1);
    EXPECT_EQ(tokenizer.encode(text), std::vector<int64_t>(wanted.begin(), wanted.end())) << text;
  }
}

TEST(SentencePieceTokenizer, SpecialTokensInTheTextBecomeTheirIds) {
  const SentencePieceTokenizer t = t5_tokenizer();
  const auto count = t.vocabulary_size();
  const auto a = t.encode("a"), b = t.encode("b");
  const auto joined = [&](std::vector<int64_t> special) {
    std::vector<int64_t> ids(a.begin(), a.end() - 1);
    ids.insert(ids.end(), special.begin(), special.end());
    ids.insert(ids.end(), b.begin(), b.end());
    return ids;
  };
  EXPECT_EQ(t.encode("a</s>b"), joined({1}));
  EXPECT_EQ(t.encode("a <pad><extra_id_0>\t\u3000b"), joined({0, count - 1}));
  EXPECT_EQ(t.encode("a<unk> b"), joined({2}));
  EXPECT_EQ(t.encode("a<extra_id_10>b"), joined({count - 11}));   // not <extra_id_1> and "0>"
  EXPECT_EQ(t.encode("a ＜extra_id_10＞").size(), a.size() + 2);  // behind the normaliser: a piece, after "▁"
  EXPECT_THAT(t.encode(""), ElementsAre(1));
  EXPECT_THAT(t.encode(" \n\u200b\t"), ElementsAre(1));
}

TEST(SentencePieceTokenizer, WhiteSpaceAroundATokenBelongsToItIfItSaysSo) {
  SentencePieceTokenizerOptions options = t5_options();
  const std::string text = "<extra_id_0>\u3000\u0301";  // ideographic space: with the accent behind it one cluster
  const auto stripped = t5_tokenizer().encode(text);
  for (SpecialToken& token : options.special_tokens) token.strip = false;
  EXPECT_NE(SentencePieceTokenizer(t5_goldens() / "spiece.model", options).encode(text), stripped);
}

TEST(SentencePieceTokenizer, WithoutACharacterMapTheTextStaysAsItIs) {
  testing::TemporaryFolder folder;
  const fs::path model = folder / "spiece.model";
  // normalizer_spec { precompiled_charsmap: "" }, which comes later and counts
  std::ofstream(model, std::ios::binary) << read_file(t5_goldens() / "spiece.model")
                                         << std::string("\x1a\x02\x12\x00", 4);
  const SentencePieceTokenizer tokenizer(model, t5_options());
  const json examples = text_test::t5_json("recipe.json").at("unmapped");
  EXPECT_EQ(examples.size(), 8u);
  for (const json& example : examples) {
    const std::string text = example.at("text");
    EXPECT_EQ(tokenizer.encode(text), example.at("ids").get<std::vector<int64_t>>()) << text;
  }
}

TEST(SentencePieceTokenizer, PadsWithThePadId) {
  SentencePieceTokenizerOptions options = t5_options();
  const auto ids = t5_tokenizer().encode("a bear");
  options.max_length = static_cast<int64_t>(ids.size()) + 2;
  auto wanted = ids;
  wanted.insert(wanted.end(), {0, 0});
  const SentencePieceTokenizer t(t5_goldens() / "spiece.model", options);
  EXPECT_EQ(t.padded("a bear"), wanted);
  EXPECT_EQ(t.max_length(), options.max_length);
  options.max_length -= 2;
  EXPECT_EQ(SentencePieceTokenizer(t5_goldens() / "spiece.model", options).padded("a bear"), ids);
}

TEST(SentencePieceTokenizer, TooLongPromptIsRefused) {
  SentencePieceTokenizerOptions options = t5_options();
  options.max_length = static_cast<int64_t>(t5_tokenizer().encode("a bear").size());
  const SentencePieceTokenizer t(t5_goldens() / "spiece.model", options);
  const auto all = t.encode("a bear on <pad> it").size();
  EXPECT_THAT(
      message_of([&] { t.padded("a bear on <pad> it"); }),
      AllOf(HasSubstr(fmt::format("the prompt has {} tokens and the text encoder takes {}", all, t.max_length())),
            HasSubstr("begins with \"on<pad> it\""), HasSubstr("shorten the prompt")));
  EXPECT_EQ(t.padded("a bear"), t.encode("a bear"));
  EXPECT_LT(message_of([&] { t.padded(std::string(5000, 'q')); }).size(), 500u);
}

TEST(SentencePieceTokenizer, DecodesToWords) {
  const SentencePieceTokenizer t = t5_tokenizer();
  EXPECT_EQ(t.decode(t.encode("  A   bear² <extra_id_3>on 龘it")), "A bear2<extra_id_3> on <unk>it</s>");
  EXPECT_THAT(message_of([&] { t.decode({t.vocabulary_size()}); }), HasSubstr("is not in the vocabulary of"));
  EXPECT_THAT(message_of([&] { t.decode({-1}); }), HasSubstr("token id -1 is not in the vocabulary"));
}

TEST(SentencePieceTokenizer, InvalidUtf8IsRefusedWithItsPosition) {
  const SentencePieceTokenizer t = t5_tokenizer();
  for (const char* bytes : {"ab\x80", "ab\xff", "ab\xc3", "ab\xc0\xaf", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80"})
    EXPECT_THAT(message_of([&] { t.encode(bytes); }),
                AllOf(HasSubstr("the text is not UTF-8"), HasSubstr("at position 2")));
}

TEST(SentencePieceTokenizer, IdsThatTheModelDoesNotHaveAreRefused) {
  SentencePieceTokenizerOptions options = t5_options();
  const int64_t count = t5_tokenizer().vocabulary_size();
  options.eos_id = count;
  EXPECT_THAT(failure(options), AllOf(HasSubstr("spiece.model"),
                                      HasSubstr(fmt::format("eos_id is {0}, and ids end at {1}", count, count - 1))));
  options.eos_id = 1;
  options.pad_id = -1;
  EXPECT_THAT(failure(options), HasSubstr("pad_id is -1"));
  options.pad_id = count - 1;  // a special token behind the pieces serves as well
  EXPECT_EQ(failure(options), "no error");
  options.max_length = 0;
  EXPECT_THAT(failure(options), HasSubstr("max_length is 0: expected at least 1"));
}

TEST(SentencePieceTokenizer, SpecialTokensThatContradictTheModelAreRefused) {
  const SentencePieceTokenizerOptions good = t5_options();
  const int64_t count = t5_tokenizer().vocabulary_size(), pieces = count - 100;
  const auto with = [&](SpecialToken token, bool instead = false) {
    SentencePieceTokenizerOptions options = good;
    if (instead) options.special_tokens.clear();
    options.special_tokens.push_back(std::move(token));
    return failure(options);
  };
  EXPECT_THAT(with({"<eos>", 1}),
              HasSubstr("id 1 is special token \"<eos>\" in the bundle and piece \"</s>\" in the model"));
  EXPECT_THAT(with({"<new>", count + 1}),
              HasSubstr(fmt::format("special token \"<new>\" has id {}, and ids end at {}", count + 1, count - 1)));
  EXPECT_THAT(with({"<new>", -3}), HasSubstr("special token \"<new>\" has id -3"));
  EXPECT_THAT(with({"<new>", pieces + 1}, true), HasSubstr("<new>"));  // a gap
  EXPECT_THAT(with({"<new>", count - 1}),
              AllOf(HasSubstr("share the id"), HasSubstr("<new>"), HasSubstr("<extra_id_0>")));
  EXPECT_THAT(with({"</s>", count}), HasSubstr(fmt::format("special token \"</s>\" has the ids 1 and {}", count)));
  EXPECT_THAT(with({"", count}), HasSubstr("has no text"));
  EXPECT_EQ(with({"<new>", count}), "no error");
}

TEST(SentencePieceTokenizer, BadFilesAreRefusedByName) {
  testing::TemporaryFolder folder;
  const std::string good = read_file(t5_goldens() / "spiece.model");
  const auto with = [&](const std::string& bytes) {
    std::ofstream(folder / "spiece.model", std::ios::binary) << bytes;
    return failure(t5_options(), folder / "spiece.model");
  };
  EXPECT_THAT(failure(t5_options(), folder / "none.model"), HasSubstr("none.model"));
  for (const std::string& bytes : {std::string(), std::string("{\"vocab\": []}"), std::string(5000, '\xff'),
                                   good.substr(0, good.size() / 2), good.substr(0, 3000)}) {
    EXPECT_THAT(with(bytes), AllOf(HasSubstr("spiece.model"), HasSubstr("not a SentencePiece model, or damaged")))
        << bytes.size();
  }
  // What comes later in the file is added: trainer_spec.model_type = 2 (BPE); byte_fallback with its 256 pieces of
  // type 6.
  EXPECT_THAT(with(good + std::string("\x12\x02\x18\x02", 4)), HasSubstr("model of type 2 (expected 1, unigram)"));
  std::string bytes = good + "\x12\x03\x98\x02\x01";
  for (int byte = 0; byte < 256; ++byte) bytes += fmt::format("\x0a\x0a\x0a\x06<0x{:02X}>\x18\x06", byte);
  EXPECT_THAT(with(bytes), AllOf(HasSubstr("\"<0x00>\""), HasSubstr("falls back to bytes is not supported")));
  EXPECT_EQ(with(good), "no error");
}

}  // namespace
}  // namespace jointtuner::text
