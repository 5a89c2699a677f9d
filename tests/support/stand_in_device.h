// The stand-in: a device for tests that is as strict as a CUDA GPU and needs none.
//
// Its memory is the host's, but its addresses are not: reading a tensor's data from the host is a fault, as on a GPU.
// Memory holds NaN (bytes 0xFF) before it is written and after it is freed.
// It runs the operators that CUDA has kernels for, by the CPU's kernels, so that results equal the CPU's bit for bit.
// The project's own operators (jointtuner::) that have a kernel for the CPU stand for the fused CUDA kernels; all
// others are composed, as they are on a GPU. An operator without a CUDA kernel is an error.
// Tensors on two devices are refused where CUDA refuses them: everywhere, but for one 0-dim CPU tensor among the inputs
// of an elementwise operator, CPU indices, and copies.
// It counts the copies between host and device and what makes the host wait for the device.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace jointtuner::testing {

/// The stand-in, of type PrivateUse1; registered with LibTorch at the first call.
at::Device stand_in();

/// What went between host and device.
struct Traffic {
  /// One line for each time that the host waited: "aten::copy_ of [2] to the host".
  std::vector<std::string> waits;
  int64_t copies_in = 0, bytes_in = 0;    ///< host to device
  int64_t copies_out = 0, bytes_out = 0;  ///< device to host
};

/// The traffic since the last call, of all threads.
Traffic taken_traffic();

/// Bytes that live stand-in tensors hold.
int64_t stand_in_bytes();

/// A CPU tensor over the same memory, for looking at it behind the device's back. Does not keep it alive.
at::Tensor seen_by_host(const at::Tensor& tensor);

}  // namespace jointtuner::testing
