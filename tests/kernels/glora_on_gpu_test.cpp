// glora_linear with its gradients on a GPU, against the CPU's.
#include <fmt/format.h>

#include "jointtuner/kernels/glora_linear.h"
#include "on_gpu.h"
#include "oracles.h"

namespace jointtuner::kernels {
namespace {

/// Output and gradients, for an adapter in float32 (float64 for float64 x).
std::vector<Tensor> run(const c10::Device& device, at::ScalarType type, bool gated, double dropout) {
  const auto adapter = type == at::kDouble ? at::kDouble : at::kFloat;
  std::vector<Tensor> leaves{leaf(wave({4, 350, 48}, 0.1, 1, type).add_(0.5).to(device)),
                             leaf(wave({9, 48}, 0.3, 0.3, adapter).to(device)),
                             leaf(wave({130, 9}, 0.4, 0.3, adapter).to(device))};
  std::optional<Tensor> gate;
  if (gated) leaves.push_back(*(gate = leaf(wave({1, 48}, 0.6, 0.5, adapter).to(device))));
  const FrozenLinear frozen{wave({130, 48}, 0.2, 0.3, type).to(device), wave({130}, 0.5, 1, type).to(device)};
  const Tensor y = glora_linear(leaves[0], frozen, {leaves[1], leaves[2], gate},
                                {.scale = 0.7, .groups = 2, .dropout = {dropout, 0x123456789ab, 5}});
  const Tensor weights = wave(y.sizes(), 0.3).add(1).to(device);
  std::vector<Tensor> results = gradients(y.to(at::kDouble).mul(weights).sum(), leaves);
  results.push_back(y.detach());
  for (Tensor& result : results) result = result.cpu();
  return results;
}

/// 16 roundings of the type, since both sides round.
TEST_F(OnGpu, GloraLinearWithItsGradients) {
  for (const auto& [type, tolerance] :
       {std::pair{at::kDouble, 1e-12}, {at::kFloat, 1e-5}, {at::kHalf, 7.8e-3}, {at::kBFloat16, 6.2e-2}}) {
    for (const bool gated : {true, false}) {
      for (const double dropout : {0.0, 0.1}) {
        const auto found = run(c10::Device(c10::kCUDA, 0), type, gated, dropout);
        const auto expected = run(c10::Device(c10::kCPU), type, gated, dropout);
        const auto again = run(c10::Device(c10::kCUDA, 0), type, gated, dropout);
        for (size_t k = 0; k < found.size(); ++k) {
          const std::string what = fmt::format("{} gated {} dropout {}, {}", c10::toString(type), gated, dropout, k);
          EXPECT_LE(gradient_difference(found, expected, k), tolerance) << what;
          EXPECT_TRUE(again[k].equal(found[k])) << what;
        }
      }
    }
  }
}

}  // namespace
}  // namespace jointtuner::kernels
