// Kernels for `meta` that LibTorch's C++ lacks. Private to forecast.
#pragma once
#include <memory>

namespace jointtuner::forecast {

/// Holds the registrations; they end with it.
class MetaKernels {
 public:
  // for_cuda: attention and convolutions have the work space that they have on CUDA, else that on the CPU.
  explicit MetaKernels(bool for_cuda);
  ~MetaKernels();
  MetaKernels(const MetaKernels&) = delete;
  MetaKernels& operator=(const MetaKernels&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::forecast
