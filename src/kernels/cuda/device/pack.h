// Global memory as packs of neighbouring elements: float32, float16 or bfloat16 there, float32 in registers. One
// 16-byte access (or more for wider packs) where the address allows it, single elements at an odd address and at the
// end of a row.
#pragma once
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>

#include "gpu.h"

namespace jointtuner::kernels::cuda {

/// Elements of T in 16 bytes.
template <class T>
inline constexpr int kPack = static_cast<int>(16 / sizeof(T));

template <int N>
struct Floats {
  float values[N];
  __host__ __device__ float& operator[](int i) { return values[i]; }
  __host__ __device__ float operator[](int i) const { return values[i]; }
};

template <class T, int N>
struct alignas(std::min<size_t>(16, N * sizeof(T))) Raw {
  T values[N];
};

template <class T, int N>
__host__ __device__ bool is_aligned(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % alignof(Raw<T, N>) == 0;
}

/// Bytes moved, for the CPU tests and the benchmark.
__host__ __device__ inline void count_read([[maybe_unused]] size_t bytes) {
#ifdef JOINTTUNER_CUDA_ON_CPU
  cuda_on_cpu::count_read(bytes);
#endif
}
__host__ __device__ inline void count_write([[maybe_unused]] size_t bytes) {
#ifdef JOINTTUNER_CUDA_ON_CPU
  cuda_on_cpu::count_write(bytes);
#endif
}

/// p[0 .. N), of which only the first `count` (at least 1) exist where that is less than N; the others are 0.
template <int N, class T>
__device__ Floats<N> load(const T* p, int64_t count = N) {
  Floats<N> result;
  if (count >= N && is_aligned<T, N>(p)) {
    const Raw<T, N> raw = *reinterpret_cast<const Raw<T, N>*>(p);
    count_read(sizeof(raw));
#pragma unroll
    for (int i = 0; i < N; ++i) result[i] = static_cast<float>(raw.values[i]);
    return result;
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
    result[i] = 0;
    if (i >= count) continue;
    result[i] = static_cast<float>(p[i]);
    count_read(sizeof(T));
  }
  return result;
}

/// p[i] = numbers[i], rounded to T, for i in [0, min(N, count)).
template <int N, class T>
__device__ void store(T* p, const Floats<N>& numbers, int64_t count = N) {
  if (count >= N && is_aligned<T, N>(p)) {
    Raw<T, N> raw;
#pragma unroll
    for (int i = 0; i < N; ++i) raw.values[i] = static_cast<T>(numbers[i]);
    *reinterpret_cast<Raw<T, N>*>(p) = raw;
    count_write(sizeof(raw));
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (i >= count) continue;
    p[i] = static_cast<T>(numbers[i]);
    count_write(sizeof(T));
  }
}

/// One element of any plain type.
template <class T>
__device__ T read(const T* p) {
  count_read(sizeof(T));
  return *p;
}
template <class T>
__device__ void write(T* p, T value) {
  *p = value;
  count_write(sizeof(T));
}

/// Calls body(first, count) for the packs of N elements of a row that fall to this thread; count is what is left of the
/// row (at least 1). Grid: packs_grid.
template <int N, class Body>
__device__ void for_each_pack(int64_t row, const Body& body) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x * N;
  for (int64_t first = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N; first < row; first += stride)
    body(first, row - first);
}

/// Calls body(item) for the items that fall to this row of the grid, the same for all threads of a block.
template <class Body>
__device__ void for_each_item(int64_t items, const Body& body) {
  for (int64_t item = blockIdx.y; item < items; item += gridDim.y) body(item);
}

/// Calls body(item, first, count) for this thread's packs of all rows [items, per_item]; first counts within the row.
template <int N, class Body>
__device__ void for_each_pack(int64_t items, int64_t per_item, const Body& body) {
  for_each_item(items, [&](int64_t item) {
    for_each_pack<N>(per_item, [&](int64_t first, int64_t count) { body(item, first, count); });
  });
}

/// A grid of kThreads wide blocks for [items, per_item] elements in packs of N, `most` blocks a row at most.
inline dim3 packs_grid(int64_t items, int64_t per_item, int64_t n, int64_t most = 65536) {
  const int64_t blocks = (per_item + n * kThreads - 1) / (n * kThreads);
  return dim3(static_cast<unsigned>(std::min(blocks, most)), static_cast<unsigned>(std::min<int64_t>(items, 65535)));
}

}  // namespace jointtuner::kernels::cuda
