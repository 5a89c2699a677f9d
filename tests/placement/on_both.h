// A family's tiny backbone on the CPU and on the stand-in.
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

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

/// What the host waited for, for messages.
inline std::string waits_text(const Traffic& traffic) { return fmt::format("{}", fmt::join(traffic.waits, "\n")); }

}  // namespace jointtuner::testing
