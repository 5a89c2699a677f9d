#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <cmath>

#include "device_memory.h"
#include "kernels/philox_words.h"
#include "src/kernels/cuda/device/dropout.h"
#include "src/kernels/cuda/low_rank_backward.h"
#include "src/kernels/cuda/low_rank_update.h"
#include "src/kernels/cuda/tensor_arguments.h"
#include "src/kernels/glora_parts.h"

namespace jointtuner::kernels::cuda {
namespace {

/// Sums of up to 4097 products in float32, at most 300 in a row.
constexpr double kSumTolerance = 3e-6;

struct Case {
  int64_t tokens, rank, columns, offset;
  std::string text(double dropout) const {
    return fmt::format("{} tokens, rank {}, {} columns at {}, dropout {}", tokens, rank, columns, offset, dropout);
  }
};

/// Below, at and above a tile of 64 and a depth of 32 in each direction; aligned quads, and masks that start within a
/// counter; sums in one run and in several.
const std::vector<Case> kCases{{1, 1, 1, 0},    {7, 5, 9, 1},    {33, 4, 40, 0},   {64, 32, 64, 0}, {65, 33, 65, 3},
                               {7, 130, 12, 0}, {4097, 3, 5, 0}, {40, 2, 1030, 2}, {33, 512, 3, 0}};

/// A seed and a site that use all their bits.
DropoutMask mask_of(double probability) { return {probability, 0x7123456789abcdef, 0x89abcdef}; }

/// Offsets keep the sums from cancelling, which would leave their rounding alone.
template <class T>
Tensor hidden_of(const Case& c) {
  return wave({c.tokens, c.rank}, 0.1, 1, kType<T>).add_(0.6);
}
Tensor up_of(const Case& c) { return wave({c.columns, c.rank}, 0.4, 0.5, at::kFloat).add_(0.3); }
template <class T>
Tensor wide_of(const Case& c, double phase) {
  return wave({c.tokens, c.columns}, phase, 1, kType<T>).add_(0.4);
}

template <class T>
Tensor updated(const Case& c, const Tensor& y, const Tensor& hidden, const Tensor& up, double scale,
               const DropoutMask& mask, int64_t most_blocks = 65536) {
  const Placed output(y, c.offset), h(hidden, c.offset), u(up, c.offset);
  low_rank_update<T>(
      {output.data<T>(), h.data<T>(), u.data<float>(), c.tokens, c.rank, c.columns, dropout_of(mask, scale)}, nullptr,
      most_blocks);
  return output.tensor().clone();
}

struct Gradients {
  Tensor hidden, up;
};

/// grad_hidden lies within [tokens, rank + 1], as glora_linear has it: the last column must stay.
template <class T>
Gradients gradients_of(const Case& c, const Tensor& grad_y, const Tensor& hidden, const Tensor& up, double scale,
                       const DropoutMask& mask, int64_t most_blocks = 65536) {
  const Placed g(grad_y, c.offset), h(hidden, c.offset), u(up, c.offset);
  const Placed to_hidden(unwritten({c.tokens, c.rank + 1}, at::kFloat), c.offset);
  const Placed to_up(unwritten({c.columns, c.rank}, at::kFloat), c.offset);
  LowRankBackward<T> arguments{
      g.data<T>(), h.data<T>(), u.data<float>(), to_hidden.data<float>(),   to_up.data<float>(), nullptr, c.tokens,
      c.rank,      c.columns,   c.rank + 1,      static_cast<float>(scale), dropout_of(mask, 1)};
  const Placed partial(at::full({partials(arguments)}, std::nan(""), at::TensorOptions(at::kFloat)));
  arguments.partial = partial.data<float>();
  low_rank_backward(arguments, nullptr, most_blocks);
  EXPECT_TRUE(to_hidden.tensor().select(1, c.rank).eq(55).all().item<bool>()) << "a write into the logits' column";
  return {to_hidden.tensor().narrow(1, 0, c.rank).clone(), to_up.tensor().clone()};
}

TEST(CudaLowRankUpdate, EqualsComposition) {
  for_each_type([]<class T>() {
    for (const Case& c : kCases) {
      for (const double dropout : {0.0, 0.1}) {
        const Tensor y = wide_of<T>(c, 0.8), hidden = hidden_of<T>(c), up = up_of(c);
        const Tensor expected = y.to(at::kDouble);
        composed::low_rank_update({expected, hidden.to(at::kDouble), up.to(at::kDouble), 0.7, mask_of(dropout)});
        const Tensor first = updated<T>(c, y, hidden, up, 0.7, mask_of(dropout));
        expect_close(first, expected, kTolerance<T>, c.text(dropout));
        for_each_order(
            [&] { EXPECT_TRUE(updated<T>(c, y, hidden, up, 0.7, mask_of(dropout)).equal(first)) << c.text(dropout); });
        EXPECT_TRUE(updated<T>(c, y, hidden, up, 0.7, mask_of(dropout), 2).equal(first)) << c.text(dropout);
      }
    }
  });
}

TEST(CudaLowRankBackward, EqualsComposition) {
  for_each_type([]<class T>() {
    for (const Case& c : kCases) {
      for (const double dropout : {0.0, 0.1}) {
        const Tensor grad_y = wide_of<T>(c, 0.8), hidden = hidden_of<T>(c), up = up_of(c);
        const Gradients expected{at::zeros({c.tokens, c.rank}, at::kDouble),
                                 at::zeros({c.columns, c.rank}, at::kDouble)};
        composed::low_rank_backward({grad_y.to(at::kDouble), hidden.to(at::kDouble), up.to(at::kDouble),
                                     expected.hidden, expected.up, 0.7, mask_of(dropout)});
        const Gradients first = gradients_of<T>(c, grad_y, hidden, up, 0.7, mask_of(dropout));
        expect_close(first.hidden, expected.hidden, kSumTolerance, c.text(dropout) + ", hidden");
        expect_close(first.up, expected.up, kSumTolerance, c.text(dropout) + ", up");
        const auto expect_again = [&](int64_t most_blocks) {
          const Gradients again = gradients_of<T>(c, grad_y, hidden, up, 0.7, mask_of(dropout), most_blocks);
          EXPECT_TRUE(again.hidden.equal(first.hidden)) << c.text(dropout);
          EXPECT_TRUE(again.up.equal(first.up)) << c.text(dropout);
        };
        for_each_order([&] { expect_again(65536); });
        expect_again(2);
      }
    }
  });
}

/// An update of ones added to zeros is the mask itself; so is E of ones where the other factor is the unit matrix.
TEST(CudaLowRank, MasksAreTheReferenceBitForBit) {
  for_each_type([]<class T>() {
    for (const int64_t columns : {1, 2, 3, 4, 33, 64, 66}) {
      const Case c{37, 1, columns, 0};
      const Tensor ones = at::ones({c.tokens, columns}, kType<T>);
      const Tensor factors = reference::dropout_factors(ones, mask_of(0.1));
      const Tensor y = updated<T>(c, at::zeros_like(ones), at::ones({c.tokens, 1}, kType<T>),
                                  at::ones({columns, 1}, at::kFloat), 1, mask_of(0.1));
      EXPECT_TRUE(y.equal(factors)) << columns;
      const Tensor wide = reference::dropout_factors(ones.to(at::kFloat), mask_of(0.1));
      const Case to_hidden{c.tokens, columns, columns, 0}, to_up{c.tokens, c.tokens, columns, 0};
      const Tensor hidden = at::ones({c.tokens, columns}, kType<T>);
      EXPECT_TRUE(
          gradients_of<T>(to_hidden, ones, hidden, at::eye(columns, at::kFloat), 1, mask_of(0.1)).hidden.equal(wide))
          << columns;
      EXPECT_TRUE(gradients_of<T>(to_up, ones, at::eye(c.tokens, kType<T>), at::ones({columns, c.tokens}, at::kFloat),
                                  1, mask_of(0.1))
                      .up.t()
                      .equal(wide))
          << columns;
    }
  });
}

/// The counter's upper word: no tensor of a test reaches it.
TEST(CudaDropout, FactorsOfAnyFourNeighboursAreThoseOfTheirWords) {
  const DropoutMask mask = mask_of(0.5);
  for (const int64_t start : {int64_t{0}, int64_t{4} << 32, (int64_t{4} << 32) - 4, (int64_t{1} << 62) + 4}) {
    for (int64_t shift = 0; shift < 4; ++shift) {
      const Floats<4> factors = dropout_factors(dropout_of(mask, 1), start + shift);
      for (int i = 0; i < 4; ++i) {
        const auto element = static_cast<uint64_t>(start + shift + i);
        const auto words = philox4x32({static_cast<uint32_t>(element / 4), static_cast<uint32_t>(element / 4 >> 32),
                                       static_cast<uint32_t>(mask.site), 0},
                                      {static_cast<uint32_t>(mask.seed), static_cast<uint32_t>(mask.seed >> 32)});
        EXPECT_EQ(factors[i], words[element % 4] >= dropout_threshold(0.5) ? 2 : 0) << start << " + " << shift + i;
      }
    }
  }
}

TEST(CudaLowRank, NoTokensGiveNoGradientOfUp) {
  const Case c{0, 3, 5, 0};
  cuda_on_cpu::reset_counters();
  updated<float>(c, wide_of<float>(c, 0), hidden_of<float>(c), up_of(c), 1, mask_of(0.1));
  EXPECT_EQ(cuda_on_cpu::launches(), 0U);
  const Gradients result = gradients_of<float>(c, wide_of<float>(c, 0), hidden_of<float>(c), up_of(c), 1, mask_of(0.1));
  EXPECT_TRUE(result.up.eq(0).all().item<bool>());
}

TEST(CudaLowRank, ReadsAndWritesWideTensorsOnce) {
  for_each_type([]<class T>() {
    const Case c{128, 64, 192, 0};
    const uint64_t elements = 128 * 192, rows = 2, across = 3;
    cuda_on_cpu::reset_counters();
    updated<T>(c, wide_of<T>(c, 0), hidden_of<T>(c), up_of(c), 1, mask_of(0.1));
    EXPECT_EQ(cuda_on_cpu::bytes_written(), elements * sizeof(T));
    EXPECT_EQ(cuda_on_cpu::bytes_read(),
              elements * sizeof(T) + across * 128 * 64 * sizeof(T) + rows * 192 * 64 * sizeof(float));
    EXPECT_EQ(cuda_on_cpu::launches(), 1U);
    cuda_on_cpu::reset_counters();
    gradients_of<T>(c, wide_of<T>(c, 0), hidden_of<T>(c), up_of(c), 1, mask_of(0.1));
    EXPECT_EQ(cuda_on_cpu::bytes_written(), (128 + 192) * 64 * sizeof(float));
    EXPECT_EQ(cuda_on_cpu::bytes_read(),
              2 * elements * sizeof(T) + rows * 192 * 64 * sizeof(float) + across * 128 * 64 * sizeof(T));
    EXPECT_EQ(cuda_on_cpu::launches(), 2U);
  });
}

/// What is read beyond a row's end does no harm to the results, only to memory that is not there.
TEST(CudaLowRank, ReadsNothingBesideTheRows) {
  const Case c{7, 5, 9, 0};
  cuda_on_cpu::reset_counters();
  updated<float>(c, wide_of<float>(c, 0), hidden_of<float>(c), up_of(c), 1, mask_of(0.1));
  EXPECT_EQ(cuda_on_cpu::bytes_read(), (7 * 9 + 7 * 5 + 9 * 5) * sizeof(float));
  cuda_on_cpu::reset_counters();
  gradients_of<float>(c, wide_of<float>(c, 0), hidden_of<float>(c), up_of(c), 1, mask_of(0.1));
  EXPECT_EQ(cuda_on_cpu::bytes_read(), (2 * 7 * 9 + 7 * 5 + 9 * 5) * sizeof(float));
}

TEST(CudaLowRankBackward, WorkSpaceIsBounded) {
  for (const int64_t tokens : {1, 1000, 40000, 1 << 30}) {
    for (const int64_t rank : {1, 32, 65, 512}) {
      for (const int64_t columns : {1, 320, 3072, 20000}) {
        LowRankBackward<float> arguments{};
        arguments.tokens = tokens, arguments.rank = rank, arguments.columns = columns;
        EXPECT_LE(partials(arguments), 1 << 21) << tokens << ' ' << rank << ' ' << columns;
      }
    }
  }
}

}  // namespace
}  // namespace jointtuner::kernels::cuda
