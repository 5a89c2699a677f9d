#include "jointtuner/train/loss_scaler.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace jointtuner::train {

TEST(LossScaler, DisabledKeepsScaleOne) {
  LossScaler scaler(false);
  for (int i = 0; i < 3000; ++i) EXPECT_TRUE(scaler.update(true));
  EXPECT_FALSE(scaler.update(false));
  EXPECT_EQ(scaler.scale(), 1.0);
}

TEST(LossScaler, HalvesAndSkipsOnOverflow) {
  LossScaler scaler(true);
  EXPECT_EQ(scaler.scale(), 65536.0);
  EXPECT_FALSE(scaler.update(false));
  EXPECT_FALSE(scaler.update(false));
  EXPECT_EQ(scaler.scale(), 16384.0);
  EXPECT_TRUE(scaler.update(true));
  EXPECT_EQ(scaler.scale(), 16384.0);
}

TEST(LossScaler, DoublesAfterTwoThousandGoodStepsInARow) {
  LossScaler scaler(true);
  for (int i = 0; i < 1999; ++i) scaler.update(true);
  EXPECT_EQ(scaler.scale(), 65536.0);
  scaler.update(false);  // the count starts again
  for (int i = 0; i < 1999; ++i) scaler.update(true);
  EXPECT_EQ(scaler.scale(), 32768.0);
  scaler.update(true);
  EXPECT_EQ(scaler.scale(), 65536.0);
  EXPECT_EQ(scaler.state().good_steps, 0);
}

TEST(LossScaler, RestoredGoesOnAlike) {
  LossScaler first(true), second(true);
  for (int i = 0; i < 1500; ++i) first.update(i != 700);
  second.restore(first.state());
  for (int i = 0; i < 1500; ++i) {
    first.update(true);
    second.update(true);
  }
  EXPECT_EQ(first.state(), second.state());
  EXPECT_EQ(first.scale(), 65536.0);
}

TEST(LossScaler, GivesUpWhenTheModelItselfOverflows) {
  LossScaler scaler(true);
  for (int i = 0; i < 26; ++i) EXPECT_FALSE(scaler.update(false));  // 2^16 down to 2^-10
  EXPECT_ERROR(scaler.update(false), Error, "not finite", "0.0009765625", "fp32 or bf16");
}

}  // namespace jointtuner::train
