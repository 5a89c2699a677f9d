// gated_update: by hand, by central differences, as the composition that defines it, and on a GPU.
#include "jointtuner/kernels/gated_update.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "jointtuner/base/error.h"
#include "on_gpu.h"
#include "oracles.h"
#include "support/expect_error.h"

namespace jointtuner::kernels {
namespace {

TEST(GatedUpdate, HandWorkedExample) {
  Tensor y = numbers({1, 2, 3, 4}, {2, 2});
  const Tensor update = numbers({10, 20, 30, 40}, {2, 2});
  gated_update(y, update, numbers({0.5, 0.25}, {2}), 2, {});
  EXPECT_TRUE(y.equal(numbers({11, 22, 18, 24}, {2, 2})));
}

TEST(GatedUpdate, FusedEqualsReference) {
  for (const auto& [dtype, tolerance] : kTypes) {
    for (const double dropout : {0.0, 0.3}) {
      for (const bool gated : {true, false}) {
        Tensor y = wave({6, 11, 301}, 0.1, 1, dtype);
        const Tensor update = wave({6, 11, 301}, 0.2, 1, dtype);
        const auto gate_type = dtype == at::kDouble ? at::kDouble : at::kFloat;
        const auto gate = gated ? std::optional<Tensor>(wave({3}, 0.5, 1, gate_type)) : std::nullopt;
        const DropoutMask mask{dropout, 77, 2};
        const Tensor expected = reference::gated_update(y, update, gate, 0.7, mask);
        gated_update(y, update, gate, 0.7, mask);
        EXPECT_LT(relative_difference(y, expected), tolerance) << c10::toString(dtype) << dropout << gated;
      }
    }
  }
}

TEST(GatedUpdate, GradientsAreCentralDifferences) {
  for (const double dropout : {0.0, 0.3}) {
    for (const bool gated : {true, false}) {
      std::vector<Tensor> values{wave({4, 3}, 0.1), wave({4, 3}, 0.2)};
      if (gated) values.push_back(wave({2}, 0.4));
      check_gradients(
          [&](const std::vector<Tensor>& inputs) {
            Tensor y = inputs[0] * 1;  // a leaf that asks for gradients may not be changed in place
            const auto gate = gated ? std::optional<Tensor>(inputs[2]) : std::nullopt;
            gated_update(y, inputs[1], gate, 0.7, {dropout, 5, 1});
            return weighted_sum(y);
          },
          values, fmt::format("dropout {} gated {}", dropout, gated));
    }
  }
}

TEST(GatedUpdate, ChangesInPlaceAreSeenByAutograd) {
  Tensor y = wave({2, 2}, 0.1);
  const auto version = y._version();
  gated_update(y, wave({2, 2}, 0.2), std::nullopt, 1, {});
  EXPECT_GT(y._version(), version);
}

TEST(GatedUpdate, ErrorsNameTheArgument) {
  Tensor y = wave({4, 3}, 0.1);
  EXPECT_ERROR(gated_update(y, wave({4, 2}, 0.1), std::nullopt, 1, {}), Error, "[4, 3]", "[4, 2]");
  EXPECT_ERROR(gated_update(y, wave({4, 3}, 0.1), wave({3}, 0.1), 1, {}), Error, "groups dividing 4 rows", "[3]");
  EXPECT_ERROR(gated_update(y, wave({4, 3}, 0.1), wave({2}, 0.1, 1, at::kFloat), 1, {}), Error,
               "expected gate in Double");
  Tensor turned = y.t();
  EXPECT_ERROR(gated_update(turned, wave({3, 4}, 0.1), std::nullopt, 1, {}), Error, "contiguous y");
}

TEST(GatedUpdate, SchemaIsTheDocumentedOne) {
  EXPECT_EQ(schema_text("gated_update"),
            "gated_update(Tensor(a!) y, Tensor update, Tensor? gate, float scale, "
            "float dropout, int dropout_seed, int site) -> Tensor(a!)");
}

TEST_F(OnGpu, GatedUpdateWithItsGradients) {
  for (const auto& [type, tolerance] : kTypes) {
    const auto gate_type = type == at::kDouble ? at::kDouble : at::kFloat;
    const DropoutMask mask{0.3, 0x7123456789abcdef, 5};
    const auto run = [&, of = type](const c10::Device& device) {
      const std::vector<Tensor> inputs{leaf(wave({6, 35}, 0.1, 1, of).to(device)),
                                       leaf(wave({6, 35}, 0.5, 1, of).to(device)),
                                       leaf(wave({3}, 0.9, 1, gate_type).to(device))};
      Tensor y = inputs[0] * 1;
      gated_update(y, inputs[1], inputs[2], 0.7, mask);
      std::vector<Tensor> results = gradients(y.square().sum(), inputs);
      results.push_back(y.detach());
      return results;
    };
    const auto found = run(c10::Device(c10::kCUDA, 0)), expected = run(c10::Device(c10::kCPU));
    for (size_t k = 0; k < found.size(); ++k)
      EXPECT_LE(gradient_difference({found[k].cpu()}, {expected[k]}, 0), 10 * tolerance) << c10::toString(type) << k;
  }
}

}  // namespace
}  // namespace jointtuner::kernels
