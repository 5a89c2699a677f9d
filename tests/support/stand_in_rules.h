// What CUDA refuses and what it waits for, operator by operator: read in LibTorch 2.11's native_functions.yaml
// (device_check, dispatch) and in its CUDA kernels.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <vector>

namespace jointtuner::testing {

/// The operators that the stand-in runs as a whole, by the CPU's kernels. All others are composed of them.
std::vector<c10::OperatorHandle> kernel_operators();

/// Throws unless the arguments on the stack are on one device, but for the exceptions that CUDA makes.
void check_devices(const c10::OperatorHandle& op, const torch::jit::Stack& stack);

/// Counts what the operator copies and waits for on a CUDA GPU.
void count_traffic(const c10::OperatorHandle& op, const torch::jit::Stack& stack);

}  // namespace jointtuner::testing
