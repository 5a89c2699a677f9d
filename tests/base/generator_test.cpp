#include "jointtuner/base/generator.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <gtest/gtest.h>

#include "jointtuner/base/safetensors.h"
#include "support/temporary_folder.h"

namespace jointtuner {
namespace {

/// Seeds by Python's hashlib (tests/goldens/make/base.py prints them).
TEST(Generator, SeedIsTheFirstEightBytesOfSha256LittleEndian) {
  EXPECT_EQ(generator_seed(0, 0, "order"), 10304217753326032801ULL);
  EXPECT_EQ(generator_seed(7, 12, "noise"), 13004628907976461786ULL);
  EXPECT_EQ(generator_seed(18446744073709551615ULL, 3, "order"), 3974776709619689826ULL);
}

TEST(Generator, DrawsEqualPythonBitForBit) {
  const Safetensors draws = load_safetensors(testing::golden("base/draws.safetensors"));
  EXPECT_TRUE(at::equal(normal_draw({1, 4, 2, 3, 3}, generator(7, 12, "noise")), draws.at("noise")));
  EXPECT_TRUE(at::equal(uniform_draw({1}, generator(0, 0, "flip")), draws.at("flip")));
  const auto integers = at::TensorOptions().dtype(at::kLong);
  EXPECT_TRUE(at::equal(at::randperm(10, generator(18446744073709551615ULL, 3, "order"), integers), draws.at("order")));
  EXPECT_TRUE(at::equal(at::randint(1000, {4}, generator(7, 12, "timestep"), integers), draws.at("timestep")));
}

TEST(Generator, NamesStepsAndSeedsGiveDifferentDraws) {
  const at::Tensor draw = normal_draw({8}, generator(1, 2, "noise"));
  EXPECT_TRUE(at::equal(draw, normal_draw({8}, generator(1, 2, "noise"))));
  EXPECT_FALSE(at::equal(draw, normal_draw({8}, generator(1, 2, "posterior"))));
  EXPECT_FALSE(at::equal(draw, normal_draw({8}, generator(1, 3, "noise"))));
  EXPECT_FALSE(at::equal(draw, normal_draw({8}, generator(2, 2, "noise"))));
}

}  // namespace
}  // namespace jointtuner
