#include "jointtuner/text/clip_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "line_recipe.h"

namespace jointtuner::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using text_test::Recipe;

/// JOINTTUNER_CLIP_GOLDENS: a folder that tests/goldens/make/clip_tokens.py made from another vocabulary.
fs::path goldens() {
  const char* other = std::getenv("JOINTTUNER_CLIP_GOLDENS");
  return other ? fs::path(other) : fs::path(JOINTTUNER_TEST_DATA) / "goldens/text";
}

ClipTokenizer golden_tokenizer(bool normalized_special_tokens, int64_t max_length = 77) {
  const json recipe = json::parse(read_file(goldens() / "recipe.json"));
  ClipTokenizerOptions options;
  options.max_length = max_length;
  options.bos_id = recipe.at("bos_id");
  options.eos_id = recipe.at("eos_id");
  options.pad_id = recipe.at("pad_id");
  if (normalized_special_tokens) options.normalized_ids = {options.bos_id, options.eos_id};
  return ClipTokenizer(goldens() / "vocab.json", goldens() / "merges.txt", options);
}

std::vector<uint32_t> golden_hashes() {
  const std::string bytes = read_file(goldens() / "hashes.bin");
  std::vector<uint32_t> hashes(bytes.size() / 4);
  std::memcpy(hashes.data(), bytes.data(), hashes.size() * 4);
  return hashes;
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ClipTokenizer, CasesHaveTheIdsOfTransformers) {
  const ClipTokenizer exact = golden_tokenizer(false), normalized = golden_tokenizer(true);
  for (const json& c : json::parse(read_file(goldens() / "cases.json"))) {
    const std::string text = c.at("text");
    EXPECT_EQ(exact.encode(text), c.at("exact").get<std::vector<int64_t>>()) << text;
    EXPECT_EQ(normalized.encode(text), c.at("normalized").get<std::vector<int64_t>>()) << text;
  }
}

TEST(ClipTokenizer, TenThousandLinesHaveTheIdsOfTransformers) {
  const Recipe recipe(json::parse(read_file(goldens() / "recipe.json")));
  const ClipTokenizer exact = golden_tokenizer(false), normalized = golden_tokenizer(true);
  const std::vector<uint32_t> hashes = golden_hashes();
  ASSERT_EQ(hashes.size(), 2 * recipe.lines + 272);
  int64_t wrong = 0, longest = 0;
  for (uint64_t i = 0; i < recipe.lines && wrong < 10; ++i) {
    const std::string line = recipe.line(i);
    longest = std::max<int64_t>(longest, std::ssize(line));
    const bool same = text_test::fnv1a(exact.encode(line)) == hashes[i] &&
                      text_test::fnv1a(normalized.encode(line)) == hashes[recipe.lines + i];
    if (!same) ++wrong;
    EXPECT_TRUE(same) << "line " << i << ": " << line;
  }
  EXPECT_GT(longest, 5000);
}

TEST(ClipTokenizer, EveryCodePointIsReadAsTransformersReadsIt) {
  const ClipTokenizer tokenizer = golden_tokenizer(true);
  const std::vector<uint32_t> hashes = golden_hashes();
  for (uint32_t block = 0; block < 272; ++block) {
    uint32_t hash = text_test::fnv1a({});
    for (uint32_t first = block * 4096; first < (block + 1) * 4096; first += 64)
      hash = text_test::fnv1a(tokenizer.encode(text_test::code_point_line(first)), hash);
    EXPECT_EQ(hash, hashes[hashes.size() - 272 + block]) << "code points from " << std::hex << block * 4096;
  }
}

/// A vocabulary small enough to work out by hand: bytes, "lo</w>" (rank 0), "ll" (1), "he" (2), "hell" (3), bos, eos.
class SmallTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("clip_tokenizer_test_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    for (uint32_t byte = 0, spare = 0x100; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      const std::string letter = text_test::utf8(printable ? byte : spare++);
      vocab_[letter] = byte;
      vocab_[letter + "</w>"] = 256 + byte;
    }
    vocab_.update(
        {{"lo</w>", 512}, {"ll", 513}, {"he", 514}, {"hell", 515}, {"<|startoftext|>", 516}, {"<|endoftext|>", 517}});
  }
  void TearDown() override { fs::remove_all(folder_); }

  ClipTokenizer make(const ClipTokenizerOptions& options = {
                         .max_length = 6, .bos_id = 516, .eos_id = 517, .pad_id = '!', .normalized_ids = {}}) {
    std::ofstream(folder_ / "vocab.json") << vocab_;
    std::ofstream(folder_ / "merges.txt") << merges_;
    return ClipTokenizer(folder_ / "vocab.json", folder_ / "merges.txt", options);
  }
  std::string failure(const ClipTokenizerOptions& options = {
                          .max_length = 6, .bos_id = 516, .eos_id = 517, .pad_id = '!', .normalized_ids = {}}) {
    return message_of([&] { make(options); });
  }

  fs::path folder_;
  json vocab_ = json::object();
  std::string merges_ = "#version: 0.2\nl o</w>\nl l\nh e\nhe ll\n";
};

TEST_F(SmallTokenizer, MergesTheLowestRankFirst) {
  const ClipTokenizer t = make();
  // h e l l o</w>: "l o</w>" is rank 0, so only one l is left and "ll" never forms; then "he" (2)
  EXPECT_THAT(t.encode("hello"), ElementsAre(516, 514, 'l', 512, 517));
  EXPECT_THAT(t.encode("Hellx"), ElementsAre(516, 515, 256 + 'x', 517));
  EXPECT_THAT(t.encode(""), ElementsAre(516, 517));
  EXPECT_THAT(t.encode(" \n\t "), ElementsAre(516, 517));
}

TEST_F(SmallTokenizer, SpecialTokensInTheTextBecomeTheirIds) {
  ClipTokenizerOptions options{.max_length = 6, .bos_id = 516, .eos_id = 517, .pad_id = '!', .normalized_ids = {}};
  EXPECT_THAT(make(options).encode("a!b"), ElementsAre(516, 256 + 'a', '!', 256 + 'b', 517));
  EXPECT_THAT(make(options).encode("<|endoftext|>lo"), ElementsAre(516, 517, 512, 517));
  EXPECT_EQ(make(options).encode("<|EndOfText|>").size(), 2u + 2 + 9 + 2);  // <| endoftext |> as ordinary pieces
  options.bos_id = '<';  // of two that start at the same place the longer counts
  EXPECT_THAT(make(options).encode("<|endoftext|><lo"), ElementsAre('<', 517, '<', 512, 517));
  options.normalized_ids = {517};
  options.bos_id = 516;
  EXPECT_THAT(make(options).encode("<|EndOfText|>lo"), ElementsAre(516, 517, 512, 517));
}

TEST_F(SmallTokenizer, PadsWithThePadId) {
  EXPECT_THAT(make().padded("lo"), ElementsAre(516, 512, 517, '!', '!', '!'));
}

TEST_F(SmallTokenizer, ExactlyFittingPromptIsWhole) {
  EXPECT_THAT(make().padded("a b c d"), ElementsAre(516, 256 + 'a', 256 + 'b', 256 + 'c', 256 + 'd', 517));
}

TEST_F(SmallTokenizer, TooLongPromptIsRefusedWithCountsAndTheRest) {
  EXPECT_THAT(message_of([&] { make().padded("a b c d Eé f"); }),
              AllOf(HasSubstr("the prompt has 10 tokens and the text encoder takes 6"),
                    HasSubstr("begins with \"eé f\""), HasSubstr("shorten the prompt")));
  const std::string letters(3000, 'x');
  EXPECT_LT(message_of([&] { make().padded(letters); }).size(), 500u);
}

TEST_F(SmallTokenizer, DecodesToWords) {
  const ClipTokenizer t = make();
  EXPECT_EQ(t.decode(t.encode("Hello  wörld")), "<|startoftext|>hello wörld <|endoftext|>");
  EXPECT_THAT(message_of([&] { t.decode({9999}); }), HasSubstr("token id 9999 is not in the vocabulary of 518 tokens"));
}

TEST_F(SmallTokenizer, InvalidUtf8IsRefusedWithItsPosition) {
  const ClipTokenizer t = make();
  for (const char* bytes : {"ab\x80", "ab\xff", "ab\xc3", "ab\xc0\xaf", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80",
                            "ab\xe2\x82", "ab\xf8\x88\x80\x80\x80"}) {
    EXPECT_THAT(message_of([&] { t.encode(bytes); }),
                AllOf(HasSubstr("the text is not UTF-8"), HasSubstr("at position 2")))
        << bytes;
  }
  EXPECT_EQ(t.encode(std::string_view("a\0b", 3)).size(), 5u);  // NUL is a character like others
}

TEST_F(SmallTokenizer, BadVocabularyIsRefused) {
  EXPECT_THAT(message_of([&] { ClipTokenizer(folder_ / "none.json", folder_ / "merges.txt", {}); }),
              HasSubstr("none.json"));
  const json good = vocab_;
  vocab_ = json::array({1});
  EXPECT_THAT(failure(),
              AllOf(HasSubstr("vocab.json"), HasSubstr("expected a JSON object that maps each token to its id")));
  vocab_ = good;
  vocab_["x"] = "y";
  EXPECT_THAT(failure(), HasSubstr("token \"x\" has id \"y\": expected a non-negative 32-bit integer"));
  vocab_["x"] = -1;
  EXPECT_THAT(failure(), HasSubstr("token \"x\" has id -1"));
  vocab_["x"] = 513;
  EXPECT_THAT(failure(), AllOf(HasSubstr("share the id 513"), HasSubstr("\"x\"")));
  vocab_ = good;
  vocab_.erase("q</w>");
  EXPECT_THAT(failure(), HasSubstr("no token for byte 0x71 (\"q</w>\")"));
  vocab_ = good;
  EXPECT_THAT(failure({.max_length = 6, .bos_id = 516, .eos_id = 600, .pad_id = 0, .normalized_ids = {}}),
              HasSubstr("eos_id is 600, and the vocabulary has no such id"));
  EXPECT_THAT(failure({.max_length = 1, .bos_id = 516, .eos_id = 517, .pad_id = 0, .normalized_ids = {}}),
              HasSubstr("max_length is 1: expected at least 2"));
  make();
  std::ofstream(folder_ / "vocab.json") << "{\"a\": 1";
  EXPECT_THAT(message_of([&] { ClipTokenizer(folder_ / "vocab.json", folder_ / "merges.txt", {}); }),
              HasSubstr("not valid JSON"));
}

TEST_F(SmallTokenizer, BadMergesAreRefused) {
  for (const auto& [merges, message] : std::vector<std::pair<std::string, std::string>>{
           {"l l\nhe\n", "line 2: expected two tokens with one space between them, found \"he\""},
           {"#version: 0.2\nh e l\n", "line 2: expected two tokens"},
           {"l l \n", "line 1: expected two tokens"},
           {"l q\n", "line 1: token \"lq\" is not in the vocabulary"},
           {"l zz\n", "line 1: token \"zz\" is not in the vocabulary"},
           {"l l\nh e\nl l\n", "line 3: the merge \"l l\" is listed a second time"}}) {
    merges_ = merges;
    EXPECT_THAT(failure(), AllOf(HasSubstr("merges.txt"), HasSubstr(message)));
  }
  merges_ = "#version: 0.2\r\nl l\r\n";  // Windows line ends are read
  EXPECT_NO_THROW(make());
}

}  // namespace
}  // namespace jointtuner::text
