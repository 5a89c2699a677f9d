// A family's tiny backbone on the CPU and on the stand-in.
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/inject/graph_program.h"
#include "support/families.h"
#include "support/stand_in_device.h"

namespace jointtuner::testing {

struct Backbone {
  Backbone(const Family& family, at::Device device)
      : bundle(backbone::Bundle::open(family.bundle, backbone::Verify::sizes)),
        program(bundle, device, {}),
        adapters(program.sites(), 2, true, device) {
    // Random values everywhere, so that every site changes the prediction.
    adapters.assign(normal_draw({adapters.parameters()}, generator(1, 0, "adapters")).mul(0.3));
  }
  backbone::Bundle bundle;
  inject::GraphProgram program;
  adapter::AdapterSet adapters;
};

class OnBoth : public ::testing::TestWithParam<Family> {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }

  /// Loaded once for each family and device.
  static Backbone& loaded(at::Device device) {
    static auto& all = *new std::map<std::string, Backbone>;
    return all.try_emplace(GetParam().name + device.str(), GetParam(), device).first->second;
  }
};

/// The CPU has fused kernels and attention of its own where the stand-in composes them, so results agree to rounding
/// (1e-7 to 1e-5 measured), not to the bit; a tensor on the wrong device, or one that was not copied yet, is an error
/// or poison, never a small difference.
inline constexpr double kRounding = 1e-4;

/// L2 distance of two tensors over the L2 norm of the second; infinite where one is not finite or of another shape.
inline double distance(const at::Tensor& found, const at::Tensor& expected) {
  if (found.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const double ratio = ((found.cpu() - expected).norm() / expected.norm()).item().toDouble();
  return std::isfinite(ratio) ? ratio : std::numeric_limits<double>::infinity();
}

/// What the host waited for, for messages.
inline std::string waits_text(const Traffic& traffic) { return fmt::format("{}", fmt::join(traffic.waits, "\n")); }

}  // namespace jointtuner::testing
