#include "jointtuner/config/run_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "support/temporary_folder.h"

namespace jointtuner::config {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string message_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    (void)parse_run_config(text, "run.json", overrides);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

/// Gives every field another valid value than its default, whatever fields there are.
struct Change {
  static void value(bool& member) { member = !member; }
  static void value(int64_t& member) { member += 1; }
  static void value(double& member) { member = member == 0 ? 0.3 : member * 0.7; }
  static void value(std::string& member) { member += "x\"\\\n\u00e4"; }
  template <class T>
  static void value(std::vector<T>& member) {
    member.resize(2);
    for (auto& element : member) value(element);
  }
  template <class T>
  static void value(std::optional<T>& member) {
    value(member.emplace());
  }
  template <Described T>
  static void value(T& member) {
    T::fields(member, [](const char*, auto& inner, const char*, const auto&... limit) {
      value(inner);
      (choose(inner, limit), ...);
    });
  }
  static void choose(std::string& member, const Choices& choices) { member = choices.names.back(); }
  template <class T, class Limit>
  static void choose(T&, const Limit&) {}
};

RunConfig changed_config() {
  RunConfig config;
  Change::value(config);
  config.run.device = "cuda:1";  // where rules tie fields together
  config.run.memory = "24GiB";
  config.data.images[0].start_s = config.data.images[1].start_s = 0;
  config.sample.eta = 0;
  config.sample.seeds = {7, 9007199254740992};
  return config;
}

TEST(RunConfig, AnEmptyObjectGivesTheDefaults) {
  const RunConfig config = parse_run_config("{}", "run.json");
  EXPECT_EQ(run_config_text(config), run_config_text(RunConfig{}));
  EXPECT_EQ(config.adapter.rank, 32);
  EXPECT_EQ(config.train.learning_rate, 5e-4);
  EXPECT_EQ(config.sample.guidance, 0);  // the bundle's
}

TEST(RunConfig, WritingThenReadingIsTheIdentityForEveryField) {
  const RunConfig config = changed_config();
  const std::string text = run_config_text(config);
  EXPECT_EQ(run_config_text(parse_run_config(text, "run.json")), text);
  const auto before = nlohmann::json::parse(run_config_text(RunConfig{})).flatten();
  const auto after = nlohmann::json::parse(text).flatten();
  for (const auto& [path, value] : before.items()) {
    if (path == "/sample/eta") continue;
    EXPECT_TRUE(!after.contains(path) || after.at(path) != value) << path << " was not changed by the test";
  }
}

TEST(RunConfig, TextIsCompleteAndOrdered) {
  const std::string text = run_config_text(RunConfig{});
  EXPECT_THAT(text, StartsWith("{\n  \"about\": \"\",\n  \"program\": \"\",\n  \"run\": {\n    \"name\": \"\","));
  EXPECT_THAT(text, HasSubstr("\"learning_rate\": 0.0005,"));
  EXPECT_LT(text.find("\"adapter\""), text.find("\"loss\""));
  EXPECT_EQ(text.back(), '\n');
}

TEST(RunConfig, ANumberThatJsonCannotHoldIsNotWritten) {
  RunConfig config;
  config.train.learning_rate = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW((void)run_config_text(config), Error);
}

TEST(RunConfig, UnknownKeysAreNamedWithTheNearestOne) {
  const std::string message = message_of(R"({"train": {"step": 5}})");
  EXPECT_THAT(message,
              StartsWith("run.json: train.step: unknown key; did you mean \"steps\"? Allowed here: steps, batch,"));
  EXPECT_THAT(message_of(R"({"trains": {}})"), StartsWith("run.json: trains: unknown key; did you mean \"train\"?"));
  EXPECT_THAT(message_of(R"({"zzz": {}})"),
              StartsWith("run.json: zzz: unknown key. Allowed here: about, program, run,"));
  EXPECT_THAT(message_of(R"({"data": {"videos": [{"path": "a"}, {"file": "b"}]}})"),
              StartsWith("run.json: data.videos.1.file: unknown key"));
}

TEST(RunConfig, WrongTypesSayWhatIsExpectedAndFound) {
  EXPECT_EQ(message_of("[]"), "run.json: expected an object {...}, found []");
  EXPECT_EQ(message_of(R"({"train": 5})"), "run.json: train: expected an object {...}, found 5");
  EXPECT_EQ(message_of(R"({"data": {"videos": "a"}})"), "run.json: data.videos: expected a list [...], found \"a\"");
  EXPECT_EQ(message_of(R"({"data": {"videos": ["a"]}})"),
            "run.json: data.videos.0: expected an object {...}, found \"a\"");
  EXPECT_EQ(message_of(R"({"adapter": {"gate": "False"}})"),
            "run.json: adapter.gate: expected true or false, found \"False\"; write false, without quotes");
  EXPECT_EQ(message_of(R"({"adapter": {"gate": "yes"}})"),
            "run.json: adapter.gate: expected true or false, found \"yes\"; write true, without quotes");
  EXPECT_EQ(message_of(R"({"adapter": {"gate": 1}})"), "run.json: adapter.gate: expected true or false, found 1");
  EXPECT_EQ(message_of(R"({"train": {"steps": 1.5}})"), "run.json: train.steps: expected a whole number, found 1.5");
  EXPECT_EQ(message_of(R"({"train": {"steps": "5"}})"),
            "run.json: train.steps: expected a whole number, found \"5\"; write it without quotes");
  EXPECT_EQ(message_of(R"({"train": {"steps": 18446744073709551615}})"),
            "run.json: train.steps: expected a whole number, found 18446744073709551615");
  EXPECT_EQ(message_of(R"({"train": {"learning_rate": "1e-4"}})"),
            "run.json: train.learning_rate: expected a number, found \"1e-4\"; write it without quotes");
  EXPECT_EQ(message_of(R"({"train": {"learning_rate": null}})"),
            "run.json: train.learning_rate: expected a number, found null");
  EXPECT_EQ(message_of(R"({"run": {"name": 7}})"),
            "run.json: run.name: expected text in double quotes, found 7; write it in double quotes");
  EXPECT_EQ(
      message_of(R"({"train": {"activation_checkpointing": true}})"),
      "run.json: train.activation_checkpointing: expected one of off, on, offload, auto, in double quotes; found true");
  EXPECT_EQ(message_of(R"({"sample": {"prompts": ["a", ["b"]]}})"),
            "run.json: sample.prompts.1: expected text in double quotes, found [\"b\"]");
}

TEST(RunConfig, ValuesOutOfRangeSayWhatIsAllowed) {
  EXPECT_EQ(message_of(R"({"adapter": {"rank": 0}})"),
            "run.json: adapter.rank: expected a number from 1 to 8192, found 0");
  EXPECT_EQ(message_of(R"({"adapter": {"dropout": 1.0}})"),
            "run.json: adapter.dropout: expected a number from 0 to 0.99, found 1.0");
  EXPECT_EQ(message_of(R"({"sample": {"seeds": [1, -3]}})"),
            "run.json: sample.seeds.1: expected a number from 0 to 9007199254740992, found -3");
  EXPECT_EQ(message_of(R"({"loss": {"video": "aiit"}})"),
            "run.json: loss.video: expected one of ait, diffusion; found \"aiit\"; did you mean \"ait\"?");
  EXPECT_EQ(message_of(R"({"loss": {"video": "x"}})"),
            "run.json: loss.video: expected one of ait, diffusion; found \"x\"");
  EXPECT_EQ(message_of(R"({"sample": {"gate_pooling": "all"}})"),
            "run.json: sample.gate_pooling: expected one of \"\", sample, batch; found \"all\"");
}

TEST(RunConfig, RulesBetweenOptionsAreChecked) {
  EXPECT_EQ(message_of(R"({"train": {"steps": 10, "warmup_steps": 11}})"),
            "run.json: train.warmup_steps: expected at most train.steps = 10, found 11");
  EXPECT_THAT(message_of("{}", {"preview.every=5"}),
              StartsWith("run.json: sample.prompts: expected at least one prompt"));
}

TEST(RunConfig, OverridesAreAppliedInOrderAndNamedInErrors) {
  const RunConfig config = parse_run_config(
      R"({"train": {"steps": 5}})", "run.json",
      {"train.steps=6", "train.steps=7", "data.videos.0.path=a.mp4", "run.name=my_run", "data.fps=12"});
  EXPECT_EQ(config.train.steps, 7);
  EXPECT_EQ(config.data.videos.at(0).path, "a.mp4");
  EXPECT_EQ(config.run.name, "my_run");
  EXPECT_EQ(config.data.fps, 12.0);
  EXPECT_EQ(message_of("{}", {"adapter.gate=False"}),
            "run.json with --set adapter.gate=False: adapter.gate: expected true or false, found \"False\"; "
            "write false, without quotes");
  EXPECT_THAT(message_of("{}", {"trian.steps=5"}), StartsWith("run.json with --set trian.steps=5: trian: unknown key"));
  EXPECT_THAT(message_of(R"({"adapter": {"rank": 0}})", {"train.steps=5"}), StartsWith("run.json: adapter.rank"));
  EXPECT_THAT(message_of("{}", {"data={\"fps\": -1}"}), StartsWith("run.json with --set data={\"fps\": -1}: data.fps"));
}

TEST(RunConfig, LoadNamesTheFileAndTheRun) {
  const fs::path folder = fs::temp_directory_path() / "jointtuner_run_config_test";
  fs::create_directories(folder);
  const fs::path path = folder / "my_run.json";
  write_atomically(path, R"({"run": {"seed": 3}})");
  EXPECT_EQ(load_run_config(path).run.name, "my_run");
  EXPECT_EQ(load_run_config(path, {"run.name=other"}).run.name, "other");
  try {
    (void)load_run_config(path, {"run.seed=-1"});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), StartsWith(path.string() + " with --set run.seed=-1: run.seed: expected a number"));
  }
  EXPECT_THROW((void)load_run_config(folder / "absent.json"), Error);
  fs::remove_all(folder);
}

TEST(RunConfig, SchemaFileEqualsTheGeneratedSchema) {
  const fs::path path = fs::path(JOINTTUNER_SOURCE_DIR) / "configs" / "schema.json";
  if (std::getenv("JOINTTUNER_WRITE_SCHEMA") != nullptr) write_atomically(path, run_config_schema());
  EXPECT_EQ(read_file(path), run_config_schema()) << "after a change of options: JOINTTUNER_WRITE_SCHEMA=1 config_test";
}

TEST(RunConfig, OptionsThatAreGoneArePassedOverWhereTheyChangedNothing) {
  for (const char* neutral : {"0", "0.0"})
    EXPECT_EQ(message_of(fmt::format(R"({{"loss": {{"video": "ait", "static_weight": {}}}}})", neutral)), "accepted");
  EXPECT_THAT(
      message_of(R"({"loss": {"static_weight": 0.25}})"),
      StartsWith("run.json: loss.static_weight: 0.25 is gone, expected 0 or nothing: the loss static_weighted"));
  EXPECT_THAT(
      message_of("{}", {"loss.video=static_weighted"}),
      StartsWith("run.json with --set loss.video=static_weighted: loss.video: static_weighted is gone: the loss"));
  EXPECT_THAT(message_of(R"({"train": {"static_weight": 0}})"), HasSubstr("unknown key"));
  EXPECT_THAT(message_of(R"({"loss": {"video=static_weighted": 1}})"), HasSubstr("unknown key"));
  EXPECT_EQ(message_of(R"({"loss": {"video": ""}})").find("is gone"), std::string::npos);
}

TEST(RunConfig, OptionsThatAreGoneDoNotMatterOnceTheRunIsMade) {
  const testing::TemporaryFolder folder;
  write_atomically(folder / "config.json", R"({"loss": {"video": "static_weighted", "static_weight": 0.3}})");
  EXPECT_EQ(load_past_run_config(folder / "config.json").loss.video, "ait");
  EXPECT_THROW(load_run_config(folder / "config.json"), UsageError);
}

TEST(RunConfig, SchemaStatesTypesDefaultsAndLimits) {
  const auto schema = nlohmann::json::parse(run_config_schema());
  const auto& rank = schema.at("/properties/adapter/properties/rank"_json_pointer);
  EXPECT_EQ(rank.at("type"), "integer");
  EXPECT_EQ(rank.at("default"), 32);
  EXPECT_EQ(rank.at("minimum"), 1);
  EXPECT_EQ(rank.at("maximum"), 8192);
  EXPECT_THAT(rank.at("description").get<std::string>(), HasSubstr("lora_down"));
  EXPECT_EQ(schema.at("/properties/loss/properties/video/enum"_json_pointer), nlohmann::json({"ait", "diffusion"}));
  EXPECT_EQ(schema.at("/properties/sample/properties/seeds/items/type"_json_pointer), "integer");
  EXPECT_EQ(schema.at("/properties/data/properties/videos/items/additionalProperties"_json_pointer), false);
  EXPECT_FALSE(schema.at("additionalProperties").get<bool>());
}

TEST(RunConfig, EveryConfigOfTheProjectIsValidAndOpensWithItsCommand) {
  size_t found = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(JOINTTUNER_SOURCE_DIR) / "configs")) {
    if (entry.path().filename() == "schema.json") continue;
    const RunConfig config = load_run_config(entry.path());
    EXPECT_THAT(config.about,
                StartsWith("build/jointtuner train --config configs/" + entry.path().filename().string()));
    EXPECT_EQ(config.run.name, entry.path().stem().string());
    ++found;
  }
  EXPECT_GE(found, 3u);
}

TEST(RunConfig, ZeroscopeHasThePublishedSettings) {
  const RunConfig config = load_run_config(fs::path(JOINTTUNER_SOURCE_DIR) / "configs" / "zeroscope_joint.json");
  EXPECT_EQ(config.adapter.rank, 32);
  EXPECT_EQ(config.adapter.dropout, 0.1);
  EXPECT_EQ(config.train.steps, 2000);
  EXPECT_EQ(config.train.batch * config.train.accumulation, 1);
  EXPECT_EQ(config.train.learning_rate, 5e-4);
  EXPECT_EQ(config.train.beta2, 0.999);
  EXPECT_EQ(config.train.weight_decay, 1e-4);
  EXPECT_EQ(config.train.gradient_clip, 0);
  EXPECT_EQ(config.loss.video_weight, 10);
  EXPECT_EQ(config.data.height, 384);
  EXPECT_EQ(config.data.frames, 16);
  EXPECT_EQ(config.data.fps, 8);
  EXPECT_EQ(config.sample.sampler, "ddim");
  EXPECT_EQ(config.sample.steps, 30);
  EXPECT_EQ(config.sample.guidance, 12);
  EXPECT_THAT(config.sample.negative_prompt, StartsWith("bad anatomy, extra limbs"));
  EXPECT_THAT(config.sample.negative_prompt, Not(HasSubstr("  ")));
}

}  // namespace
}  // namespace jointtuner::config
