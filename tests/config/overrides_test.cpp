#include "src/config/overrides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "jointtuner/base/error.h"

namespace jointtuner::config {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

std::string changed(const std::string& json, const std::string& text) {
  Json value = Json::parse(json);
  apply_override(value, text);
  return value.dump();
}

std::string message_of(const std::string& json, const std::string& text) {
  try {
    return "accepted: " + changed(json, text);
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(Override, TakesJsonAsJsonAndTheRestAsText) {
  EXPECT_EQ(changed("{}", "a=12"), R"({"a":12})");
  EXPECT_EQ(changed("{}", "a=1e-4"), R"({"a":0.0001})");
  EXPECT_EQ(changed("{}", "a=true"), R"({"a":true})");
  EXPECT_EQ(changed("{}", "a=null"), R"({"a":null})");
  EXPECT_EQ(changed("{}", "a=[1, \"b\"]"), R"({"a":[1,"b"]})");
  EXPECT_EQ(changed("{}", "a=\"12\""), R"({"a":"12"})");
  EXPECT_EQ(changed("{}", "a=False"), R"({"a":"False"})");
  EXPECT_EQ(changed("{}", "a=007"), R"({"a":"007"})");
  EXPECT_EQ(changed("{}", "a="), R"({"a":""})");
  EXPECT_EQ(changed("{}", "a=b=c, d"), R"({"a":"b=c, d"})");
}

TEST(Override, FollowsKeysAndIndicesAndMakesWhatIsMissing) {
  EXPECT_EQ(changed(R"({"a":{"b":1,"c":2}})", "a.b=3"), R"({"a":{"b":3,"c":2}})");
  EXPECT_EQ(changed("{}", "a.b.c=1"), R"({"a":{"b":{"c":1}}})");
  EXPECT_EQ(changed(R"({"v":[{"p":"x"},{"p":"y"}]})", "v.1.p=z"), R"({"v":[{"p":"x"},{"p":"z"}]})");
  EXPECT_EQ(changed(R"({"v":[{"p":"x"}]})", "v.1.p=z"), R"({"v":[{"p":"x"},{"p":"z"}]})");
  EXPECT_EQ(changed("{}", "v.0.p=z"), R"({"v":[{"p":"z"}]})");
  EXPECT_EQ(changed(R"({"v":[1,2]})", "v=[]"), R"({"v":[]})");
}

TEST(Override, ReturnsThePathAndTheText) {
  Json json = Json::object();
  const Override change = apply_override(json, "train.steps=5");
  EXPECT_EQ(change.path, "train.steps");
  EXPECT_EQ(change.text, "train.steps=5");
}

TEST(Override, RefusesBadPaths) {
  EXPECT_EQ(message_of("{}", "train.steps"),
            "--set train.steps: expected path=value, for example --set train.steps=500");
  EXPECT_EQ(message_of("{}", "=5"), "--set =5: the path \"\" has an empty part; expected keys joined by dots");
  EXPECT_THAT(message_of("{}", "a..b=5"), HasSubstr("the path \"a..b\" has an empty part"));
  EXPECT_THAT(message_of("{}", "a.=5"), HasSubstr("has an empty part"));
  EXPECT_EQ(message_of(R"({"d":{"v":[1]}})", "d.v.path=x"),
            "--set d.v.path=x: d.v is a list, so an index from 0 to 1 must follow, found \"path\"");
  EXPECT_EQ(message_of(R"({"d":{"v":[1]}})", "d.v.3=x"),
            "--set d.v.3=x: d.v has 1 element(s), so there is no index 3; 1 appends");
  EXPECT_THAT(message_of(R"({"v":[1]})", "v.-1=x"), HasSubstr("found \"-1\""));
  EXPECT_THAT(message_of(R"({"v":[1]})", "v.99999999999999999999999=x"), HasSubstr("an index from 0 to 1 must follow"));
  EXPECT_EQ(message_of(R"({"a":5})", "a.b=1"), "--set a.b=1: a is 5, which has no parts; set it as a whole");
}

TEST(Override, RefusesBadValues) {
  EXPECT_EQ(message_of("{}", "a={\"x\":1,\"x\":2}"),
            "--set a={\"x\":1,\"x\":2}: x: this key occurs twice; keep one of them");
  EXPECT_THAT(message_of("{}", "a=\xff"), HasSubstr("the value is not UTF-8 text"));
  EXPECT_THAT(message_of("{}", "a=" + std::string(1000, '[') + std::string(1000, ']')), HasSubstr("nested more than"));
}

}  // namespace
}  // namespace jointtuner::config
