#include "src/text/unigram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace jointtuner::text {
namespace {

using ::testing::ElementsAre;

std::vector<int64_t> ids(const Unigram& model, const std::string& word) {
  std::vector<int64_t> found;
  model.encode(word, found);
  return found;
}

TEST(Unigram, TakesTheSegmentationOfTheHighestSum) {
  const Unigram model({{"<unk>", 0}, {"a", -1}, {"b", -2}, {"ab", -2.5}, {"bc", -1}, {"c", -3}, {"abc", -4.5}}, 0);
  EXPECT_THAT(ids(model, "ab"), ElementsAre(3));      // -2.5 against a b: -3
  EXPECT_THAT(ids(model, "abc"), ElementsAre(1, 4));  // a bc: -2; ab c: -5.5; abc: -4.5
  EXPECT_THAT(ids(model, "abcab"), ElementsAre(1, 4, 3));
  EXPECT_THAT(ids(model, ""), ElementsAre());
}

TEST(Unigram, UnknownCharactersAreOneUnkTenBelowTheLowestScore) {
  const Unigram model({{"<unk>", 0}, {"z", -12}, {"yz", -10.5}, {"w", -12}, {"zw", -1}}, 0);
  EXPECT_THAT(ids(model, "xéx"), ElementsAre(0));
  EXPECT_THAT(ids(model, "xxwxx"), ElementsAre(0, 3, 0));
  EXPECT_THAT(ids(model, "yzw"), ElementsAre(2, 3));  // -22.5; unk and zw: -22 - 1
  const Unigram dearer({{"<unk>", 0}, {"z", -12}, {"yz", -11.5}, {"w", -12}, {"zw", -1}}, 0);
  EXPECT_THAT(ids(dearer, "yzw"), ElementsAre(0, 4));  // -23.5 against -23
  EXPECT_THAT(ids(model, "x<unk>x"), ElementsAre(0));  // its name is a piece
}

TEST(Unigram, OfEqualSumsTheOneFoundFirstStays) {
  const Unigram model({{"<unk>", 0}, {"a", -1}, {"aa", -1.5}}, 0);
  EXPECT_THAT(ids(model, "aaa"), ElementsAre(1, 2));  // to the end from "a" and from "aa": the former is offered first
  const Unigram even({{"<unk>", 0}, {"a", -1}, {"aa", -2}}, 0);
  EXPECT_THAT(ids(even, "aaaa"), ElementsAre(2, 2));  // the longer piece comes from further left
}

TEST(Unigram, SumsAreTakenInDoublePrecision) {
  // In single precision 100 + 1e-6 is 100: the first two would be equal, and "a" "bc" found first.
  const Unigram model({{"<unk>", 0}, {"a", -100}, {"bc", -1.000001}, {"ab", -100}, {"c", -1}}, 0);
  EXPECT_THAT(ids(model, "abc"), ElementsAre(3, 4));
}

}  // namespace
}  // namespace jointtuner::text
