// Work done for its memory alone: while a DryRun lives, tensors on the device `meta` are counted, byte by byte, as they
// are allocated and freed, and nothing is computed. Models, training steps, samplers and autoencoders run as they are;
// their storages live exactly as long as they would with values in them. Private to forecast.
//
// What LibTorch's C++ cannot do on `meta` is added for as long as the object lives (src/forecast/meta_kernels.cpp):
// shapes of the normalisations, of convolutions and of attention, and the way back to the host: a copy from `meta` to
// the CPU is filled with zeros, a number read from `meta` is 0.
//
// Assumptions:
// - attention is fused (flash attention on the CPU and, in half types, on CUDA): no matrix of tokens x tokens exists,
//   and the result is laid out as the query is. Described for CUDA, its backward pass also holds the query's gradient
//   once in fp32, as flash attention 2 does; described for the CPU, each thread holds a tile of the matrix;
// - described for CUDA, a convolution or matrix product needs nothing besides its arguments and its result: what cuBLAS
//   and cuDNN take for themselves is an allowance (fit.h). Described for the CPU, a convolution's forward pass also
//   holds what oneDNN and LibTorch's own convolutions do, for fp32 on AVX2.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>

namespace jointtuner::forecast {

class DryRun {
 public:
  // `described`: the device whose memory is meant, of which the type alone matters. One at a time in a process, used
  // on one thread; no tensor on `meta` may be alive before or after. Throws Error if there is another.
  explicit DryRun(c10::Device described);
  ~DryRun();
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;

  /// Bytes held now; the most that was held at once since the last start_peak().
  int64_t live() const;
  int64_t peak() const;
  /// The same peak, with every block rounded up to the 512 bytes that CUDA's caching allocator hands out.
  int64_t peak_in_blocks() const;
  void start_peak();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::forecast
