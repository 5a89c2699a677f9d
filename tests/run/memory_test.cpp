// What check says about memory, and what train refuses.
#include <gtest/gtest.h>

#include "cli/command_line.h"

namespace jointtuner::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> check(const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"check", "--config", small_run().config_path(), "--log-level", "error"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Memory, CheckShowsEveryStage) {
  const std::string out = expect_done(check());
  for (const char* part : {"memory    on the CPU", "weights", "adapters", "activations", "peak", "needs", "encode text",
                           "encode latents", "train", "preview", "decode"})
    EXPECT_THAT(out, HasSubstr(part));
  EXPECT_THAT(out, Not(HasSubstr("cuBLAS")));
  const std::string gpu = expect_done(check({"--set", "run.device=auto", "--memory", "1GiB"}));
  for (const char* part :
       {"memory    on a GPU", "32.00 MiB for cuBLAS", "the context takes 512.00 MiB", "every stage fits into 1GiB"})
    EXPECT_THAT(gpu, HasSubstr(part));
}

TEST(Memory, CheckSaysWhatToChange) {
  const Outcome outcome = command(check({"--memory", "1MiB", "--set", "train.activation_checkpointing=off"}));
  EXPECT_EQ(outcome.code, 1);
  for (const char* part : {"train does not fit into 1MiB", "with train.activation_checkpointing=on: ",
                           "about a third more time a step", "and 1.00 MiB are free: set "})
    EXPECT_THAT(outcome.out, HasSubstr(part));
  const Outcome least = command(check({"--memory", "1KiB"}));
  EXPECT_THAT(least.out, HasSubstr("; for less take a smaller size"));
  EXPECT_THAT(least.out, Not(HasSubstr("checkpointing=on train."))) << "one value a setting";
  EXPECT_THAT(least.out, HasSubstr("no setting lowers that; take a larger GPU or a smaller backbone"));
}

TEST(Memory, CheckForecastsBeforeTheDataIsThere) {
  const Outcome outcome = command(check({"--set", R"(data.videos=[{"path": "not/there.mp4", "caption": "a"}])"}));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, HasSubstr("memory    on the CPU"));
  const Outcome wrong = command(check({"--set", "data.height=31"}));
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.out, Not(HasSubstr("memory    on the CPU")));
  EXPECT_THAT(wrong.err, HasSubstr("2 problems in")) << "of data and of sample; the forecast would meet it again";
}

TEST(Memory, WrongAmountsAreRefused) {
  expect_refused(2, check({"--memory", "24"}), {"--memory", "24GiB", "\"24\""});
  expect_refused(2, check({"--set", "run.memory=12 apples"}), {"run.memory", "24000MiB", "12 apples"});
}

std::vector<std::string> train(const std::string& name, const std::vector<std::string>& more) {
  std::vector<std::string> words{"train", "--config", small_run().config_path(), "--set", "run.name=" + name};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Memory, TrainRefusesWhatCannotFitBeforeItBegins) {
  expect_refused(1, train("refused", {"--set", "run.memory=8MiB", "--set", "train.activation_checkpointing=off"}),
                 {"train needs", "8.00 MiB are free", "set train.activation_checkpointing=on", "jointtuner check"});
  EXPECT_FALSE(fs::exists(fs::path(small_run().folder()).parent_path() / "refused")) << "no run was begun";
}

TEST(Memory, TrainChoosesSegmentsThatFit) {
  const auto words = [](const std::string& memory) {
    return train("auto_" + memory, {"--set", "train.activation_checkpointing=auto", "--set", "run.memory=" + memory,
                                    "--log-level", "info"});
  };
  const Outcome much = command(words("1GiB")), little = command(words("8MiB"));
  EXPECT_EQ(much.code, 0) << much.err;
  EXPECT_THAT(much.err, HasSubstr("checkpoint segments: 0 of "));
  EXPECT_EQ(little.code, 0) << little.err;
  EXPECT_THAT(little.err, HasSubstr("recomputed"));
  EXPECT_THAT(little.err, Not(HasSubstr("checkpoint segments: 0 of ")));
  const fs::path runs = fs::path(small_run().folder()).parent_path();
  EXPECT_EQ(read_file(runs / "auto_1GiB/adapter.safetensors"), read_file(runs / "auto_8MiB/adapter.safetensors"))
      << "the choice changes no bit of the result";
}

TEST(Memory, OnlyCheckTakesASkeleton) {
  const testing::BundleCopy copy;
  fs::rename(copy.path() / "bundle.json", copy.path() / "skeleton.json");
  const std::string set = "backbone.bundle=" + copy.path().string();
  EXPECT_THAT(expect_done(check({"--set", set})), HasSubstr("a skeleton: shapes without weights"));
  expect_refused(1, train("hollow", {"--set", set}), {copy.path().string(), "a skeleton", "export_backbone.sh"});
}

}  // namespace
}  // namespace jointtuner::cli
