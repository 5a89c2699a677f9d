#include "src/config/strict_json.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "jointtuner/base/error.h"

namespace jointtuner::config {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string message_of(const std::string& text) {
  try {
    (void)parse_strict_json(text, "run.json");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(StrictJson, KeepsValuesAndTheOrderOfKeys) {
  const auto json = parse_strict_json(R"({"z": 1, "a": [true, null, -2.5e-3, "\u00e4\n"], "m": {}})", "run.json");
  EXPECT_EQ(json.dump(), "{\"z\":1,\"a\":[true,null,-0.0025,\"\u00e4\\n\"],\"m\":{}}");
}

TEST(StrictJson, RefusesWhatIsNotJsonAndSaysWhereAndWhatToDo) {
  const std::string comment = message_of("{\n  \"a\": 1, // no\n}");
  EXPECT_THAT(comment, StartsWith("run.json: line 2, column 11: not JSON: "));
  EXPECT_THAT(comment, HasSubstr("JSON has no comments: use the text of \"about\""));
  EXPECT_THAT(message_of("{\"a\": 1} # no"), HasSubstr("JSON has no comments"));
  EXPECT_THAT(message_of("{\"a\": /* no */ 1}"), HasSubstr("JSON has no comments"));
  EXPECT_THAT(message_of("{\"a\": 1,}"), HasSubstr("remove the comma after the last element"));
  EXPECT_THAT(message_of("[1,\n]"), HasSubstr("remove the comma after the last element"));
  EXPECT_THAT(message_of("{'a': 1}"), HasSubstr("text stands in double quotes"));
  EXPECT_THAT(message_of("{\"a\": True}"), HasSubstr("write true or false"));
  EXPECT_THAT(message_of("{\"a\": False}"), HasSubstr("write true or false"));
  EXPECT_THAT(message_of(""), StartsWith("run.json: line 1, column 1: not JSON: "));
  EXPECT_THAT(message_of("{\"a\": 1} {}"), HasSubstr("line 1, column 10"));
  EXPECT_THAT(message_of("{\"a\": NaN}"), HasSubstr("not JSON"));
  EXPECT_THAT(message_of("{\"a\": 1e999}"), HasSubstr("not JSON"));
  EXPECT_THAT(message_of("{\"a\": \"\xff\"}"), HasSubstr("UTF-8"));
}

TEST(StrictJson, RefusesAKeyThatOccursTwiceAndNamesItsPath) {
  EXPECT_EQ(message_of(R"({"train": {"steps": 1}, "train": {}})"),
            "run.json: train: this key occurs twice; keep one of them");
  EXPECT_THAT(message_of(R"({"d": {"videos": [1, [2], {"x": 1}, {"path": "a", "path": "b"}]}})"),
              StartsWith("run.json: d.videos.3.path: this key occurs twice"));
  EXPECT_EQ(message_of(R"([{"a": 1}, {"a": 2}])"), "accepted");
}

TEST(StrictJson, RefusesDeepNestingBeforeBuildingIt) {
  EXPECT_EQ(message_of(std::string(32, '[') + std::string(32, ']')), "accepted");
  EXPECT_THAT(message_of(std::string(33, '[') + std::string(33, ']')), HasSubstr("nested more than 32 levels"));
  EXPECT_THAT(message_of(std::string(1000000, '[')), HasSubstr("nested more than 32 levels"));
}

TEST(StrictJson, FoundTextIsShortAndPrintable) {
  EXPECT_EQ(found_text(nlohmann::ordered_json("a")), "\"a\"");
  EXPECT_EQ(found_text(nlohmann::ordered_json("\xff")), "\"\\ufffd\"");
  EXPECT_EQ(found_text(std::string(100, 'x')), fmt::format("\"{}...", std::string(59, 'x')));
}

}  // namespace
}  // namespace jointtuner::config
