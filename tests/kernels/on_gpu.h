// For tests of an operator's CUDA binding against the CPU's operator. Skipped where there is no GPU: there the kernels
// themselves are tested by tests/kernels_cuda.
#pragma once
#include <gtest/gtest.h>

#include "jointtuner/base/device.h"

namespace jointtuner::kernels {

class OnGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (parse_device("auto").is_cpu()) GTEST_SKIP() << "no CUDA device is usable here";
  }
};

}  // namespace jointtuner::kernels
