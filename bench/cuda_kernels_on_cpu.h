// The CUDA kernels' own sources as the operators' CPU kernels (src/kernels/cuda/on_cpu/cuda_on_cpu.h), to count what
// they move.
#pragma once
#include <torch/library.h>

#include "byte_counter.h"

namespace jointtuner::bench {

/// While it lives, the operators on CPU tensors of float32 and half precision run the CUDA kernels, as their bindings
/// choose them: without dropout the low-rank steps are matrix products.
class CudaKernelsOnCpu {
 public:
  CudaKernelsOnCpu();

 private:
  torch::Library library_;
};

/// Bytes that these kernels loaded and stored since the last call.
Moved moved_by_cuda_kernels();

}  // namespace jointtuner::bench
