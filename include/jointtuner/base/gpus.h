// The CUDA GPUs of this machine and what the program was built with for them. A program built without CUDA has another
// source file behind this header, which sees none.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace jointtuner {

struct Gpu {
  std::string name;
  int64_t capability = 0;  ///< compute capability times ten: 86 is 8.6
  int64_t total_bytes = 0, free_bytes = 0;
};

/// As CUDA counts them, 1000 * major + 10 * minor; 0 where there is no driver.
struct CudaVersions {
  int64_t toolkit = 0;  ///< its headers, when the program was built
  int64_t runtime = 0;  ///< the library that is loaded
  int64_t driver = 0;   ///< the newest CUDA that the driver serves
};

/// GPUs by index; none without a GPU, a driver, or CUDA in the program.
std::vector<Gpu> gpus();

/// Empty in a program built without CUDA.
std::optional<CudaVersions> cuda_versions();

/// What the program's kernels were compiled for, CMake's CUDA_ARCHITECTURES with commas: "80,86,90-virtual"; "" without
/// CUDA.
std::string_view cuda_architectures();

/// Which of these a GPU of that capability runs: "sm_86" (machine code of the same major and no newer minor),
/// "compute_80" (PTX of an older one, which the driver compiles at the first launch), or "" when it runs none.
/// An entry with neither -real nor -virtual is both; one with a letter ("90a") serves its own capability alone.
std::string code_for_capability(std::string_view architectures, int64_t capability);

}  // namespace jointtuner
