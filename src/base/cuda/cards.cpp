#include "jointtuner/base/cards.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>

namespace jointtuner {

std::vector<Card> cards() {
  std::vector<Card> found;
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
  C10_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  C10_CUDA_CHECK(cudaDriverGetVersion(&driver));  // no driver is no error: 0
  return CudaVersions{CUDART_VERSION, runtime, driver};
}

std::string_view cuda_architectures() { return JOINTTUNER_CUDA_ARCHITECTURES; }

}  // namespace jointtuner
