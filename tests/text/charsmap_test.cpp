#include "src/text/charsmap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jointtuner/base/error.h"
#include "jointtuner/base/sha256.h"
#include "src/text/graphemes.h"
#include "src/text/sentencepiece_model.h"
#include "t5_goldens.h"

namespace jointtuner::text {
namespace {

using ::testing::ElementsAre;
using text_test::utf8;

Charsmap nmt_nfkc() { return Charsmap(read_sentencepiece_model(text_test::t5_goldens() / "spiece.model").charsmap); }

/// As `marked` of t5_tokens.py.
std::string marked(uint32_t code) {
  const std::string c = utf8(code);
  return c + " \u00b2" + c + ". e" + c + "\u0301 " + c + "e\u0301 " + c + "\u0344\u0301 " + c + "\u0301 \u00bc" + c +
         "\u0301;" + c;
}

TEST(Charsmap, EveryCodePointIsNormalisedAsTransformersDoesIt) {
  const Charsmap map = nmt_nfkc();
  const std::vector<uint32_t> hashes = text_test::t5_hashes();
  for (uint32_t block = 0; block < 272; ++block) {
    Sha256 hash;
    for (uint32_t code = block * 4096; code < (block + 1) * 4096; ++code)
      if (!text_test::is_surrogate(code)) hash.update(map.normalized(marked(code)));
    const auto digest = hash.digest();
    uint32_t found = 0;
    for (size_t i = 0; i < 4; ++i) found |= static_cast<uint32_t>(digest[i]) << (8 * i);
    EXPECT_EQ(found, hashes[hashes.size() - 272 + block]) << "code points from " << std::hex << block * 4096;
  }
}

TEST(Charsmap, ShortClustersAreReplacedAsAWhole) {
  const Charsmap map = nmt_nfkc();
  EXPECT_EQ(map.normalized("x² ﬁ\u3000Ｆ\tｶ"), "x2 fi F カ");
  EXPECT_EQ(map.normalized("ｶﾞ"), "カ\u3099");  // 6 bytes: each for itself, although there is a rule for both
  EXPECT_EQ(map.normalized("e\u0301"), "\u00e9");
  EXPECT_EQ(map.normalized("²\u0301"), "2");                    // 4 bytes: the accent is lost
  EXPECT_EQ(map.normalized("²\u0301\u0302"), "2\u0301\u0302");  // 6 bytes: each for itself
  EXPECT_EQ(map.normalized("a\u0323\u0302"), "\u1ea1");         // the shortest rule, "a" with the dot
  EXPECT_EQ(map.normalized("\u0600e\u0301"), "\u0600e\u0301");  // one cluster with the sign before it
  EXPECT_EQ(map.normalized(std::string("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(Charsmap("").normalized("²\u0301"), "²\u0301");
}

TEST(Charsmap, DamagedMapIsRefused) {
  for (const std::string& bytes : {std::string("\1"), std::string("\0\0\0\0", 4), std::string("\x08\0\0\0abcd", 8),
                                   std::string("\3\0\0\0abc", 7)}) {
    EXPECT_THROW(Charsmap{bytes}, Error) << bytes.size();
  }
  // A trie that leads outside, and a replacement that lies outside: no rule, and no access there.
  EXPECT_EQ(Charsmap(std::string("\4\0\0\0\xff\xff\xff\xff", 8)).normalized("a²"), "a²");
  std::string bytes("\x8c\1\0\0", 4);
  bytes.append(99 * size_t{4}, '\0');                                                  // 99 units
  bytes.replace(4 + 'a' * size_t{4}, 8, std::string("a\x0d\0\0\xff\xff\xff\x7f", 8));  // "a": its leaf is 3 XOR 'a'
  EXPECT_EQ(Charsmap(bytes + "A").normalized("ab"), "ab");
  bytes.replace(8 + 'a' * size_t{4}, 4, std::string(4, '\0'));
  EXPECT_EQ(Charsmap(bytes + "A").normalized("ab"), "Ab");
}

std::vector<std::string> clusters(const std::string& text) {
  std::vector<std::string> found;
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = grapheme_end(text, begin);
    found.push_back(text.substr(begin, end - begin));
  }
  return found;
}

TEST(Graphemes, ClustersAreThoseOfUax29) {
  EXPECT_THAT(clusters("ab\r\n\r\u0301"), ElementsAre("a", "b", "\r\n", "\r", "\u0301"));
  EXPECT_THAT(clusters("a\u0301\u0302b\u0903c"), ElementsAre("a\u0301\u0302", "b\u0903", "c"));
  EXPECT_THAT(clusters("\u0600\u0600a\n\u0600\n"), ElementsAre("\u0600\u0600a", "\n", "\u0600", "\n"));
  EXPECT_THAT(clusters("\u1112\u1161\u11ab\u1112\uac00\u11a8\uac01\u1161"),
              ElementsAre("\u1112\u1161\u11ab", "\u1112\uac00\u11a8", "\uac01", "\u1161"));
  EXPECT_THAT(clusters("🇩🇪🇫🇷🇩a"), ElementsAre("🇩🇪", "🇫🇷", "🇩", "a"));
  EXPECT_THAT(clusters("👩\u200d👩\u200da👍🏽™\u200d\u2122"),
              ElementsAre("👩\u200d👩\u200d", "a", "👍🏽", "™\u200d\u2122"));
  EXPECT_THAT(clusters("a\u200d👩"), ElementsAre("a\u200d", "👩"));
  EXPECT_THAT(clusters("क\u094dष क\u094d\u200dष \u094dष क\u0903\u094dष"),
              ElementsAre("क\u094dष", " ", "क\u094d\u200dष", " \u094d", "ष", " ", "क\u0903\u094d", "ष"));
  EXPECT_THAT(clusters("a\u0897 \U0001611e"), ElementsAre("a\u0897", " \U0001611e"));  // marks since Unicode 16
}

}  // namespace
}  // namespace jointtuner::text
