#include "jointtuner/kernels/dropout_mask.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "jointtuner/base/error.h"
#include "jointtuner/kernels/gated_update.h"
#include "philox_words.h"
#include "src/kernels/cpu/philox_block.h"

namespace jointtuner::kernels {
namespace {

/// The known-answer tests of Random123 1.14.0, file kat_vectors, "philox4x32 10".
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, BlocksEqualSingleDraws) {
  constexpr uint32_t kSite = 0xdeadbeef;
  constexpr uint64_t kSeed = 0x123456789abcdef0;
  for (const uint64_t first : {uint64_t{0}, uint64_t{64}, (uint64_t{1} << 32) - 32}) {  // the last crosses 32 bits
    std::array<uint32_t, cpu::kBlockWords> words{};
    cpu::draw_words(first, kSite, kSeed, words.data());
    for (uint64_t i = 0; i < cpu::kBlockCounters; ++i) {
      const uint64_t counter = first + i;
      const Words expected =
          philox4x32({static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), kSite, 0},
                     {static_cast<uint32_t>(kSeed), static_cast<uint32_t>(kSeed >> 32)});
      for (size_t j = 0; j < 4; ++j) ASSERT_EQ(words[4 * i + j], expected[j]) << "counter " << counter << " word " << j;
    }
  }
}

TEST(DropoutMask, FollowsItsDefinition) {
  const DropoutMask mask{0.3, 0x7654321fedcba98, 17};
  const Tensor factors = reference::dropout_factors(at::zeros({5, 7}), mask);
  const uint64_t threshold = dropout_threshold(0.3);
  EXPECT_EQ(threshold, 1288490189U);  // 0.3 * 2^32 = 1288490188.8
  for (int64_t e = 0; e < 35; ++e) {
    const auto words = philox4x32({static_cast<uint32_t>(e / 4), 0, 17, 0}, {0xfedcba98, 0x07654321});
    const float expected = words[static_cast<size_t>(e % 4)] >= threshold ? 1 / 0.7F : 0;
    EXPECT_FLOAT_EQ(factors.view(-1)[e].item<float>(), expected) << "element " << e;
  }
}

TEST(DropoutMask, FusedEqualsComposedForAnyOffsetAndLength) {
  for (const int64_t count : {1, 3, 255, 256, 257, 1031, 70001}) {
    const DropoutMask mask{0.1, 99, 3};
    Tensor y = at::zeros({count});
    gated_update(y, at::zeros({count}) + 1, std::nullopt, 1, mask);
    EXPECT_TRUE(y.equal(reference::dropout_factors(y, mask))) << count;
  }
}

TEST(DropoutMask, DropsTheAskedShareAndKeepsTheMean) {
  const Tensor factors = reference::dropout_factors(at::empty({1000000}), {0.1, 5, 0});
  const double dropped = factors.eq(0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(dropped, 0.1, 0.0015);  // 5 standard deviations: 5 sqrt(0.1 * 0.9 / 1e6)
  EXPECT_NEAR(factors.to(at::kDouble).mean().item<double>(), 1, 0.0017);
}

TEST(DropoutMask, SitesAndSeedsDiffer) {
  const Tensor like = at::empty({1000});
  const Tensor base = reference::dropout_factors(like, {0.5, 1, 0});
  EXPECT_TRUE(base.equal(reference::dropout_factors(like, {0.5, 1, 0})));
  EXPECT_FALSE(base.equal(reference::dropout_factors(like, {0.5, 1, 1})));
  EXPECT_FALSE(base.equal(reference::dropout_factors(like, {0.5, 2, 0})));
  EXPECT_FALSE(
      base.equal(reference::dropout_factors(like, {0.5, int64_t{1} << 32 | 1, 0})));  // the key's high word counts
}

TEST(DropoutMask, RefusesWhatIsNoProbability) {
  for (const double bad : {-0.1, 1.0, std::nan("")}) {
    try {
      dropout_threshold(bad);
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("expected a probability in [0, 1)"));
    }
  }
}

}  // namespace
}  // namespace jointtuner::kernels
