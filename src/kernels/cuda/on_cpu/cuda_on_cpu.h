// Runs the project's CUDA kernels on the CPU, for tests: the same .cu files, compiled as C++
// (src/kernels/cuda/device/gpu.h includes this header where nvcc is not the compiler).
//
// Every CUDA thread is a fibre with a stack of its own; blocks run one after another on the thread that launches. A
// fibre runs until it waits at a barrier or a shuffle, then the next one is picked: in index order, in reverse, or at
// random from a seed. A kernel that lacks a barrier gives other numbers in one of these orders. Shared memory is filled
// with NaN before each block and has guard bytes on both sides. Errors are thrown as std::runtime_error out of
// launch():
//   - __syncthreads() that not all threads of the block reach, or reach at different lines;
//   - __syncwarp(), __shfl_*_sync() with lanes of the mask that do not take part, take part at another line or do not
//   exist;
//   - a shuffle that reads a lane outside its mask; writes beside shared memory; a JOINTTUNER_KERNEL_CHECK that fails.
// Stricter than the hardware: a thread that has returned counts as missing at a later barrier.
// Not seen: races between blocks that run at once, memory orders, misaligned accesses, atomics. One launch at a time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_size = 1, unsigned y_size = 1, unsigned z_size = 1) : x(x_size), y(y_size), z(z_size) {}
};

// Another type than the toolkit's, so that a launcher compiled here and the same launcher compiled by nvcc are two
// functions and may be linked into one program.
namespace cuda_on_cpu {

struct Stream;

}
using cudaStream_t = cuda_on_cpu::Stream*;

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {

inline constexpr unsigned kWarpSize = 32;

enum class Order { forward, reversed, shuffled };

/// How the next launches pick threads and blocks. The seed counts for `shuffled` only.
void set_order(Order order, uint64_t seed = 0);

/// Runs body() as every thread of every block.
void launch(dim3 grid, dim3 block, const std::function<void()>& body);

/// Number of launches, bytes read and written through the kernels' load and store functions, since reset_counters().
uint64_t launches();
uint64_t bytes_read();
uint64_t bytes_written();
void reset_counters();
void count_read(uint64_t bytes);
void count_write(uint64_t bytes);

/// The block's shared memory called `tag`: made and filled with NaN (all bits 1) when its first thread asks.
void* shared_memory(const void* tag, size_t bytes);

/// Where a barrier or shuffle stands in the source.
struct Site {
  const char* file;
  int line;
  bool operator==(const Site& other) const { return line == other.line && std::strcmp(file, other.file) == 0; }
};

/// Ends the launch with an error that names the block and thread.
[[noreturn]] void fail(const char* text, Site site);

void wait_for_block(Site site);

/// All lanes of `mask` meet; each gets the `value` of the lane it names.
uint64_t exchange(uint32_t mask, uint64_t value, unsigned source_lane, Site site);

unsigned lane();

/// `source` counts from the start of the caller's segment of `width` lanes; outside it the caller's own value returns.
template <class T>
T shuffle(uint32_t mask, T value, int source, int width, Site site) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  if (width <= 0 || width > static_cast<int>(kWarpSize) || (width & (width - 1)) != 0)
    fail("shuffle width is no power of 2 up to 32", site);
  const unsigned own = lane(), start = own / static_cast<unsigned>(width) * static_cast<unsigned>(width);
  const bool inside = source >= 0 && source < width;
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, inside ? start + static_cast<unsigned>(source) : own, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

inline int lane_in(int width) { return static_cast<int>(lane()) & (width - 1); }

}  // namespace cuda_on_cpu

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  cuda_on_cpu::wait_for_block({file, line});
}
inline void __syncwarp(uint32_t mask = 0xFFFFFFFF, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  cuda_on_cpu::exchange(mask, 0, cuda_on_cpu::lane(), {file, line});
}
template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
  return cuda_on_cpu::shuffle(mask, value, source & (width - 1), width, {file, line});
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned distance, int width = 32, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
  return cuda_on_cpu::shuffle(mask, value, cuda_on_cpu::lane_in(width) - static_cast<int>(distance), width,
                              {file, line});
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned distance, int width = 32, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
  return cuda_on_cpu::shuffle(mask, value, cuda_on_cpu::lane_in(width) + static_cast<int>(distance), width,
                              {file, line});
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  return cuda_on_cpu::shuffle(mask, value, cuda_on_cpu::lane_in(width) ^ bits, width, {file, line});
}
