#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "device_memory.h"
#include "src/kernels/cuda/gate_hidden.h"
#include "src/kernels/glora_parts.h"

namespace jointtuner::kernels::cuda {
namespace {

/// Sums of up to 4097 * 33 products in float32, each lane's of at most 200 in a row.
constexpr double kSumTolerance = 3e-6;

struct Case {
  int64_t groups, group_tokens, rank, offset;
  int64_t tokens() const { return groups * group_tokens; }
  std::string text() const { return fmt::format("{} x {} tokens, rank {} at {}", groups, group_tokens, rank, offset); }
};

/// 7, 33 and 4097 tokens in all the groups they divide into; a rank with one token a run; and more runs than a warp has
/// lanes, of logits (8500 tokens) and of rows (1100).
const std::vector<Case> kCases{{1, 1, 1, 0},    {1, 7, 5, 0},    {7, 1, 8, 0},    {1, 33, 8, 0},   {3, 11, 33, 1},
                               {33, 1, 16, 3},  {1, 4097, 1, 0}, {1, 4097, 4, 1}, {17, 241, 3, 0}, {4097, 1, 1, 0},
                               {2, 3, 2500, 0}, {1, 8500, 1, 0}, {1, 1100, 64, 0}};

/// Of the runs that are compared with the first one, so that each warp has several units of work.
constexpr int64_t kMostBlocks = 2;

/// Work space that nothing may be expected of.
Tensor not_a_number(int64_t elements) { return at::full({elements}, std::nan(""), at::TensorOptions(at::kFloat)); }

struct Gated {
  Tensor hidden, gate;
};

template <class T>
Gated gated(const Case& c, const Tensor& hidden, const Tensor& logits, int64_t most_blocks = 65536) {
  const Placed h(hidden, c.offset), l(logits, c.offset), g(unwritten({c.groups}, at::kFloat));
  GateHidden<T> arguments{h.data<T>(), l.data<T>(), g.data<float>(), nullptr, c.groups, c.group_tokens, c.rank};
  const Placed partial(not_a_number(partials(arguments)));
  arguments.partial = partial.data<float>();
  gate_hidden(arguments, nullptr, most_blocks);
  return {h.tensor().clone(), g.tensor().clone()};
}

template <class T>
Tensor gradient(const Case& c, const Tensor& incoming, const Tensor& hidden, const Tensor& logits, const Tensor& gate,
                double scale, int64_t most_blocks = 65536) {
  const Placed p(incoming, c.offset), h(hidden, c.offset), l(logits, c.offset), g(gate);
  GateHiddenBackward<T> arguments{p.data<float>(), h.data<T>(),    l.data<T>(), g.data<float>(),          nullptr,
                                  c.groups,        c.group_tokens, c.rank,      static_cast<float>(scale)};
  const Placed partial(not_a_number(partials(arguments)));
  arguments.partial = partial.data<float>();
  gate_hidden_backward(arguments, nullptr, most_blocks);
  return p.tensor().clone();
}

/// Offsets keep sums over tokens from cancelling, which would leave their rounding alone.
template <class T>
Tensor hidden_of(const Case& c) {
  return wave({c.tokens(), c.rank}, 0.1, 2, kType<T>).add_(0.7);
}
template <class T>
Tensor logits_of(const Case& c) {
  return wave({c.tokens()}, 0.5, 3, kType<T>);
}
/// Its last column is not yet anything.
Tensor incoming_of(const Case& c) {
  const Tensor result = wave({c.tokens(), c.rank + 1}, 0.9, 1, at::kFloat).add_(0.5);
  result.select(1, c.rank).fill_(std::nan(""));
  return result;
}

TEST(CudaGateHidden, EqualsComposition) {
  for_each_type([]<class T>() {
    for (const Case& c : kCases) {
      const Tensor hidden = hidden_of<T>(c), logits = logits_of<T>(c);
      const Tensor expected_hidden = hidden.to(at::kDouble);
      const Tensor expected_gate = composed::gate_hidden(expected_hidden, logits.to(at::kDouble), c.groups);
      const Gated first = gated<T>(c, hidden, logits);
      expect_close(first.gate, expected_gate, kSumTolerance, c.text() + ", gate");
      expect_close(first.hidden, expected_hidden, kTolerance<T>, c.text() + ", hidden");
      for_each_order([&] {
        const Gated again = gated<T>(c, hidden, logits, kMostBlocks);
        EXPECT_TRUE(again.gate.equal(first.gate)) << c.text();
        EXPECT_TRUE(again.hidden.equal(first.hidden)) << c.text();
      });
    }
  });
}

TEST(CudaGateHidden, BackwardEqualsComposition) {
  for_each_type([]<class T>() {
    for (const Case& c : kCases) {
      const Tensor hidden = hidden_of<T>(c), logits = logits_of<T>(c), incoming = incoming_of(c);
      const Tensor gate = wave({c.groups}, 0.2, 0.3, at::kFloat).add_(0.5);
      const Tensor expected = incoming.to(at::kDouble);
      composed::gate_hidden_backward(
          {expected, hidden.to(at::kDouble), logits.to(at::kDouble), gate.to(at::kDouble), 0.7});
      const Tensor first = gradient<T>(c, incoming, hidden, logits, gate, 0.7);
      const auto both = [&](int64_t start, int64_t columns, const char* what) {
        expect_close(first.narrow(1, start, columns), expected.narrow(1, start, columns), kSumTolerance,
                     c.text() + what);
      };
      both(0, c.rank, ", hidden");
      both(c.rank, 1, ", logits");
      for_each_order([&] {
        EXPECT_TRUE(gradient<T>(c, incoming, hidden, logits, gate, 0.7, kMostBlocks).equal(first)) << c.text();
      });
    }
  });
}

TEST(CudaGateHidden, GateOfZeroHasNoSlope) {
  const Case c{2, 3, 2, 0};
  const Tensor hidden = hidden_of<float>(c), incoming = incoming_of(c);
  const Tensor logits = at::full({6}, -200, at::kFloat);
  const Gated result = gated<float>(c, hidden, logits);
  EXPECT_TRUE(result.gate.eq(0).all().item<bool>());
  const Tensor found = gradient<float>(c, incoming, result.hidden, logits, result.gate, 1);
  EXPECT_TRUE(found.eq(0).all().item<bool>());
}

TEST(CudaGateHidden, SaturatedLogitsGiveOne) {
  const Case c{1, 300, 2, 0};
  const Tensor hidden = hidden_of<at::Half>(c);
  const Gated result = gated<at::Half>(c, hidden, at::full({300}, 60000, at::kHalf));
  EXPECT_TRUE(result.gate.eq(1).all().item<bool>());
  EXPECT_TRUE(result.hidden.equal(hidden));
}

TEST(CudaGateHidden, NoTokensLaunchNothing) {
  cuda_on_cpu::reset_counters();
  const Case c{1, 0, 4, 0};
  gated<float>(c, hidden_of<float>(c), logits_of<float>(c));
  gradient<float>(c, incoming_of(c), hidden_of<float>(c), logits_of<float>(c), at::full({1}, 0.5, at::kFloat), 1);
  EXPECT_EQ(cuda_on_cpu::launches(), 0U);
}

TEST(CudaGateHidden, MovesEachElementOnce) {
  for_each_type([]<class T>() {
    const Case c{1, 4096, 8, 0};
    const uint64_t tokens = 4096, elements = tokens * 8, partials = tokens / 256, runs = tokens / (2048 / 8);
    cuda_on_cpu::reset_counters();
    const Gated result = gated<T>(c, hidden_of<T>(c), logits_of<T>(c));
    EXPECT_EQ(cuda_on_cpu::bytes_read(), (elements + tokens) * sizeof(T) + runs * partials * sizeof(float));
    EXPECT_EQ(cuda_on_cpu::bytes_written(), elements * sizeof(T) + (partials + 1) * sizeof(float));
    EXPECT_EQ(cuda_on_cpu::launches(), 2U);
    cuda_on_cpu::reset_counters();
    gradient<T>(c, incoming_of(c), result.hidden, logits_of<T>(c), result.gate, 1);
    // For each run every lane reads the gate, and together they read the sums of all runs; from the caches.
    EXPECT_EQ(cuda_on_cpu::bytes_read(),
              elements * (2 * sizeof(float) + sizeof(T)) + tokens * sizeof(T) + runs * (32 + runs) * sizeof(float));
    EXPECT_EQ(cuda_on_cpu::bytes_written(), (elements + tokens + runs) * sizeof(float));
    EXPECT_EQ(cuda_on_cpu::launches(), 2U);
  });
}

TEST(CudaGateHidden, WorkSpaceIsBounded) {
  GateHidden<float> forward{};
  GateHiddenBackward<float> backward{};
  forward.groups = backward.groups = 3;
  forward.group_tokens = backward.group_tokens = int64_t{1} << 40;
  backward.rank = 64;
  EXPECT_EQ(partials(forward), 3 * 1024);
  EXPECT_EQ(partials(backward), 3 * 1024);
}

}  // namespace
}  // namespace jointtuner::kernels::cuda
