// All that `doctor` looks at, in the order of its table.
#pragma once
#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "jointtuner/doctor/table.h"

namespace jointtuner::doctor {

struct Options {
  at::Device device = at::kCPU;  ///< a GPU is checked beside the CPU
  std::string bundle;            ///< "" = no bundle
  bool quick = false;
};

/// Versions, devices, kernels and training; progress on stderr. What a check throws makes its row wrong, and the next
/// goes on.
std::vector<Row> findings(const Options& options);

}  // namespace jointtuner::doctor
