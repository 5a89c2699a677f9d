#include "jointtuner/base/gpus.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "jointtuner/base/error.h"

namespace jointtuner {
namespace {

/// Not C10_CUDA_CHECK, which needs a driver even where nothing failed.
void check(cudaError_t code) {
  if (code != cudaSuccess) throw Error(fmt::format("CUDA does not tell its version: {}", cudaGetErrorString(code)));
}

}  // namespace

std::vector<Gpu> gpus() {
  std::vector<Gpu> found;
  for (c10::DeviceIndex index = 0; index < c10::cuda::device_count(); ++index) {
    const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(index);
    const auto [free_bytes, total_bytes] = at::accelerator::getMemoryInfo(index);
    found.push_back({properties.name, properties.major * 10 + properties.minor, static_cast<int64_t>(total_bytes),
                     static_cast<int64_t>(free_bytes)});
  }
  return found;
}

std::optional<CudaVersions> cuda_versions() {
  int runtime = 0, driver = 0;
  check(cudaRuntimeGetVersion(&runtime));
  check(cudaDriverGetVersion(&driver));  // no driver is no error: 0
  return CudaVersions{CUDART_VERSION, runtime, driver};
}

std::string_view cuda_architectures() { return JOINTTUNER_CUDA_ARCHITECTURES; }

}  // namespace jointtuner
