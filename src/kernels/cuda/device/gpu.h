// What kernels and launchers need of CUDA, in one spelling for nvcc and for the tests that compile the same .cu files
// as C++ and run them on the CPU (on_cpu/cuda_on_cpu.h).
#pragma once
#include <cstdint>
#include <string>

#include "jointtuner/base/error.h"
#include "stream.h"

#ifndef JOINTTUNER_CUDA_ON_CPU
#include <cuda_runtime.h>

/// Shared memory of a block: `type name[size]`, size a constant.
#define JOINTTUNER_SHARED(type, name, size) __shared__ type name[size]

/// Stops the kernel with an error where a condition on the data does not hold; seen at the next synchronisation.
#define JOINTTUNER_KERNEL_CHECK(condition, text) \
  if (!(condition)) __assert_fail(text, __FILE__, __LINE__, __func__)

#else
#define JOINTTUNER_SHARED(type, name, size) \
  static const char name##_tag = 0;         \
  type* const name = static_cast<type*>(cuda_on_cpu::shared_memory(&name##_tag, (size) * sizeof(type)))

#define JOINTTUNER_KERNEL_CHECK(condition, text) \
  if (!(condition)) cuda_on_cpu::fail(text, {__FILE__, __LINE__})
#endif

namespace jointtuner::kernels::cuda {

/// Threads of a block, wherever a kernel has no reason for another number.
inline constexpr unsigned kThreads = 256;

#if defined(__CUDACC__) || defined(JOINTTUNER_CUDA_ON_CPU)  // ATen's side of the code sees headers of .cu files too
/// kernel<<<grid, block, 0, stream>>>(arguments...) and the check of the launch, without a synchronisation. Throws
/// Error.
template <class... Parameters, class... Arguments>
void launch(const char* op, void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
            const Arguments&... arguments) {
#ifndef JOINTTUNER_CUDA_ON_CPU
  kernel<<<grid, block, 0, stream>>>(arguments...);
  const cudaError_t code = cudaGetLastError();
  if (code != cudaSuccess) throw Error(std::string(op) + ": the launch failed: " + cudaGetErrorString(code));
#else
  static_cast<void>(op), static_cast<void>(stream);
  cuda_on_cpu::launch(grid, block, [&] { kernel(arguments...); });
#endif
}
#endif

}  // namespace jointtuner::kernels::cuda
