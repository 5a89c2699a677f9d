#include "src/train/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"

namespace jointtuner::train {

namespace {

TrainOptions options(const std::string& schedule) {
  TrainOptions result;
  result.steps = 10;
  result.warmup_steps = 4;
  result.learning_rate = 0.08;
  result.learning_rate_schedule = schedule;
  return result;
}

}  // namespace

TEST(LearningRate, WarmsUpFromZero) {
  for (const char* schedule : {"constant", "linear", "cosine"}) {
    EXPECT_DOUBLE_EQ(learning_rate(options(schedule), 0), 0.0);
    EXPECT_DOUBLE_EQ(learning_rate(options(schedule), 1), 0.02);
    EXPECT_DOUBLE_EQ(learning_rate(options(schedule), 3), 0.06);
    EXPECT_DOUBLE_EQ(learning_rate(options(schedule), 4), 0.08);
  }
}

TEST(LearningRate, HandWorkedValues) {
  EXPECT_DOUBLE_EQ(learning_rate(options("constant"), 9), 0.08);
  EXPECT_DOUBLE_EQ(learning_rate(options("linear"), 7), 0.04);      // (10 - 7) / 6
  EXPECT_DOUBLE_EQ(learning_rate(options("linear"), 9), 0.08 / 6);  // (10 - 9) / 6
  EXPECT_DOUBLE_EQ(learning_rate(options("cosine"), 7), 0.04);      // cos(pi / 2) = 0
  EXPECT_DOUBLE_EQ(learning_rate(options("cosine"), 6), 0.06);      // cos(pi / 3) = 1/2
  EXPECT_DOUBLE_EQ(learning_rate(options("cosine"), 8), 0.02);      // cos(2 pi / 3) = -1/2
}

TEST(LearningRate, WithoutWarmupStartsAtTheBase) {
  TrainOptions all = options("linear");
  all.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate(all, 0), 0.08);
  EXPECT_DOUBLE_EQ(learning_rate(all, 5), 0.04);
}

TEST(LearningRate, WarmupOfTheWholeRun) {
  TrainOptions all = options("cosine");
  all.warmup_steps = 10;
  EXPECT_DOUBLE_EQ(learning_rate(all, 9), 0.072);
}

TEST(LearningRate, RefusesWhatDoesNotFit) {
  TrainOptions all = options("linear");
  all.warmup_steps = 11;
  EXPECT_ERROR(learning_rate(all, 0), UsageError, "train.warmup_steps: expected at most train.steps = 10, found 11");
  EXPECT_ERROR(learning_rate(options("step"), 5), UsageError, "train.learning_rate_schedule", "'step'", "cosine");
}

}  // namespace jointtuner::train
