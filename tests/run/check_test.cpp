// What check finds, as lines and as JSON.
#include "cli/command_line.h"

namespace jointtuner::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::vector<std::string> check(const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"check", "--config", small_run().config_path(), "--log-level", "error"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Check, JsonHoldsWhatTheLinesSay) {
  const std::string text = expect_done(check());
  const json report = json::parse(expect_done(check({"--json"})));
  EXPECT_TRUE(report["ok"].get<bool>());
  EXPECT_TRUE(report["problems"].empty());
  EXPECT_THAT(text, HasSubstr("no problems found\n"));
  EXPECT_THAT(text, HasSubstr("backbone  " + report["backbone"]["name"].get<std::string>()));
  int64_t sites = 0, parameters = 0;
  for (const json& group : report["adapters"]["groups"]) {
    sites += group["sites"].get<int64_t>();
    parameters += group["parameters"].get<int64_t>();
  }
  EXPECT_EQ(report["adapters"]["sites"], sites);
  EXPECT_EQ(report["adapters"]["parameters"], parameters);
  EXPECT_THAT(text, HasSubstr(fmt::format("adapters  rank 2, gated by sample, {} sites", sites)));
  ASSERT_EQ(report["sources"].size(), 2U);
  const json &picture = report["sources"][0], &clip = report["sources"][1];
  EXPECT_EQ(picture["kind"], "picture");
  EXPECT_EQ(clip["kind"], "clip");
  EXPECT_EQ(clip["items"][0]["caption"], "a dog");
  EXPECT_EQ(clip["items"][0]["clips"][0]["times_s"].size(), report["data"]["frames"].get<size_t>());
  const json& tokens = clip["items"][0]["tokens"];
  EXPECT_THAT(text, HasSubstr(fmt::format("\"a dog\" ({} of {} tokens)", tokens["count"].get<int64_t>(),
                                          tokens["most"].get<int64_t>())));
  EXPECT_EQ(report["prompts"][0]["prompt"], "a cat");
  EXPECT_EQ(report["samples"]["steps"], 2);
  EXPECT_EQ(report["run"]["last_checkpoint"], 2);
  EXPECT_THAT(text, HasSubstr("it has checkpoints up to step 2"));
}

TEST(Check, JsonHoldsTheForecastInBytes) {
  const json memory = json::parse(expect_done(check({"--json", "--set", "run.device=auto"})))["memory"];
  EXPECT_EQ(memory["on"], "GPU");
  EXPECT_EQ(memory["allowances"]["context"], 512 << 20);
  std::vector<std::string> names;
  for (const json& stage : memory["stages"]) {
    names.push_back(stage["name"]);
    EXPECT_EQ(stage["peak"].get<int64_t>(),
              stage["weights"].get<int64_t>() + stage["adapters"].get<int64_t>() + stage["activations"].get<int64_t>());
    EXPECT_GE(stage["needs"].get<int64_t>(), stage["peak"].get<int64_t>());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"encode text", "encode latents", "train", "preview", "decode"}));
}

TEST(Check, ProblemsAreInTheJsonToo) {
  const Outcome outcome = command(check({"--json", "--memory", "1KiB", "--set", "sample.height=31"}));
  EXPECT_EQ(outcome.code, 1);
  const json report = json::parse(outcome.out);
  EXPECT_FALSE(report["ok"].get<bool>());
  EXPECT_FALSE(report.contains("samples"));
  EXPECT_FALSE(report.contains("memory")) << "the forecast would only meet the problem again";
  EXPECT_THAT(outcome.err, HasSubstr(report["problems"][0].get<std::string>()));
  const Outcome small = command(check({"--json", "--memory", "1KiB"}));
  const json stages = json::parse(small.out)["memory"]["stages"];
  EXPECT_FALSE(stages[2]["fits"].get<bool>());
  EXPECT_FALSE(stages[2]["changes"].empty());
}

}  // namespace
}  // namespace jointtuner::cli
