// All that `doctor` looks at, in the order of its table.
#pragma once
#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "doctor_table.h"

namespace jointtuner::cli {

struct DoctorOptions {
  at::Device device = at::kCPU;  ///< a card is checked beside the CPU
  std::string bundle;            ///< "" = no bundle
  bool quick = false;
};

/// Versions, devices, kernels and training; progress on stderr. What a check throws makes its row wrong, and the next
/// goes on.
std::vector<Row> doctor_rows(const DoctorOptions& options);

}  // namespace jointtuner::cli
