// What check says about memory, and what train refuses.
#include <gtest/gtest.h>

#include "command_line.h"

namespace jointtuner::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> check(std::vector<std::string> more = {}) {
  std::vector<std::string> words{"check", "--config", small_run().config_path(), "--log-level", "error"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Memory, CheckShowsEveryStage) {
  const std::string out = expect_done(check());
  for (const char* part : {"memory    on the CPU", "weights", "adapters", "activations", "peak", "encode text",
                           "encode latents", "train", "preview", "decode"})
    EXPECT_THAT(out, HasSubstr(part));
  EXPECT_THAT(out, Not(HasSubstr("a card also holds")));
  const std::string card = expect_done(check({"--set", "run.device=auto", "--memory", "1GiB"}));
  for (const char* part :
       {"memory    on a card", "rounding", "a card also holds", "context 512.00 MiB", "all stages fit into 1GiB"})
    EXPECT_THAT(card, HasSubstr(part));
}

TEST(Memory, CheckSaysWhatToChange) {
  const Outcome outcome = command(check({"--memory", "1MiB", "--set", "train.activation_checkpointing=off"}));
  EXPECT_EQ(outcome.code, 1);
  for (const char* part : {"train needs", "1.00 MiB are there", "train.activation_checkpointing=on (then"})
    EXPECT_THAT(outcome.out, HasSubstr(part));
  const Outcome least = command(check({"--memory", "1KiB"}));
  EXPECT_THAT(least.out, HasSubstr("that is not enough: take a smaller size or a larger card"));
  EXPECT_THAT(least.out, HasSubstr("encode text needs"));
}

TEST(Memory, WrongAmountsAreRefused) {
  expect_refused(2, check({"--memory", "24"}), {"--memory", "24GiB", "\"24\""});
  expect_refused(2, check({"--memory", "much"}), {"--memory", "\"much\""});
  expect_refused(2, check({"--set", "run.memory=12 apples"}), {"run.memory", "24000MiB", "12 apples"});
}

std::vector<std::string> train(const std::string& name, std::vector<std::string> more) {
  std::vector<std::string> words{"train", "--config", small_run().config_path(), "--set", "run.name=" + name};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Memory, TrainRefusesWhatCannotFitBeforeItBegins) {
  expect_refused(1, train("refused", {"--set", "run.memory=600KiB", "--set", "train.activation_checkpointing=off"}),
                 {"train needs", "600.00 KiB are there", "train.activation_checkpointing=on", "jointtuner check"});
  EXPECT_FALSE(fs::exists(fs::path(small_run().folder()).parent_path() / "refused")) << "no run was begun";
}

TEST(Memory, TrainChoosesSegmentsThatFit) {
  const auto words = [&](const char* memory) {
    return train(std::string("auto_") + memory, {"--set", "train.activation_checkpointing=auto", "--set",
                                                 std::string("run.memory=") + memory, "--log-level", "info"});
  };
  const Outcome much = command(words("1GiB")), little = command(words("1600KiB"));
  EXPECT_EQ(much.code, 0) << much.err;
  EXPECT_THAT(much.err, HasSubstr(" 0 of "));
  EXPECT_EQ(little.code, 0) << little.err;
  EXPECT_THAT(little.err, HasSubstr("recomputed"));
  EXPECT_THAT(little.err, Not(HasSubstr(" 0 of ")));
  const fs::path runs = fs::path(small_run().folder()).parent_path();
  EXPECT_EQ(read_file(runs / "auto_1GiB/adapter.safetensors"), read_file(runs / "auto_1600KiB/adapter.safetensors"))
      << "the choice changes no bit of the result";
}

TEST(Memory, OnlyCheckTakesASkeleton) {
  const testing::BundleCopy copy;
  fs::rename(copy.path() / "bundle.json", copy.path() / "skeleton.json");
  const std::string set = "backbone.bundle=" + copy.path().string();
  EXPECT_THAT(expect_done(check({"--set", set})), HasSubstr("a skeleton: shapes without weights"));
  expect_refused(1, train("hollow", {"--set", set}), {copy.path().string(), "a skeleton", "export_backbone.sh"});
  expect_refused(1, {"inspect", copy.path().string()}, {"a skeleton", "export_backbone.sh"});
}

}  // namespace
}  // namespace jointtuner::cli
