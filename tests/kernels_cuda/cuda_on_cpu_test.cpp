// The stand-in itself: that it runs threads as CUDA does, and that each fault it promises to see is seen.
#include "src/kernels/cuda/on_cpu/cuda_on_cpu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "device_memory.h"
#include "src/kernels/cuda/device/block_sum.h"
#include "src/kernels/cuda/device/pack.h"
#include "support/expect_error.h"

namespace jointtuner::kernels::cuda {
namespace {

void run(unsigned blocks, unsigned threads, const std::function<void()>& body) {
  cuda_on_cpu::launch(blocks, threads, body);
}

/// Each thread's neighbour to the right, twice, through shared memory, with or without the barriers that it takes.
std::vector<float> neighbours(bool barrier_before, bool barrier_after) {
  std::vector<float> result(128);
  run(1, 64, [&] {
    JOINTTUNER_SHARED(float, values, 64);
    for (int round = 0; round < 2; ++round) {
      values[threadIdx.x] = static_cast<float>(threadIdx.x) + 100 * static_cast<float>(round);
      if (barrier_before) __syncthreads();
      result[64 * static_cast<unsigned>(round) + threadIdx.x] = values[(threadIdx.x + 1) % 64];
      if (barrier_after) __syncthreads();
    }
  });
  return result;
}

std::vector<float> expected_neighbours() {
  std::vector<float> result(128);
  for (size_t i = 0; i < 128; ++i) result[i] = static_cast<float>((i + 1) % 64 + i / 64 * 100);
  return result;
}

TEST(CudaOnCpu, ThreadsSeeTheirPlaces) {
  for_each_order([] {
    std::vector<int> seen(2 * 3 * 2 * 4 * 3 * 2, 0);
    cuda_on_cpu::launch({2, 3, 2}, {4, 3, 2}, [&] {
      const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
      const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
      ++seen[block * 24 + thread];
    });
    EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
  });
}

TEST(CudaOnCpu, SharedMemoryAndBarriers) {
  for_each_order([] { EXPECT_EQ(neighbours(true, true), expected_neighbours()); });
}

TEST(CudaOnCpu, AMissingBarrierGivesOtherNumbersInSomeOrder) {
  for (const auto& [before, after] : {std::pair{false, true}, {true, false}}) {
    int wrong = 0;
    for_each_order([&, first = before, second = after] {
      const auto found = neighbours(first, second), expected = expected_neighbours();
      for (size_t i = 0; i < found.size(); ++i) wrong += found[i] == expected[i] ? 0 : 1;
    });
    EXPECT_GT(wrong, 0) << "barriers " << before << after;
  }
}

TEST(CudaOnCpu, RandomOrdersRepeatAndDiffer) {
  const auto order = [](uint64_t seed) {
    std::vector<unsigned> threads;
    cuda_on_cpu::set_order(cuda_on_cpu::Order::shuffled, seed);
    run(2, 32, [&] { threads.push_back(blockIdx.x * 32 + threadIdx.x); });
    cuda_on_cpu::set_order(cuda_on_cpu::Order::forward);
    return threads;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
}

TEST(CudaOnCpu, FreshSharedMemoryIsNotANumber) {
  run(2, 1, [] {
    JOINTTUNER_SHARED(float, values, 3);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(values[i]));
    values[1] = 0;
  });
}

TEST(CudaOnCpu, ShufflesOfAllWidths) {
  for_each_order([] {
    for (const int width : {1, 2, 4, 8, 16, 32})
      run(1, 64, [width] {
        const int lane = static_cast<int>(threadIdx.x % 32), start = lane / width * width, inside = lane % width;
        const unsigned all = 0xFFFFFFFF;
        EXPECT_EQ(__shfl_sync(all, lane, 3, width), start + 3 % width);
        EXPECT_EQ(__shfl_up_sync(all, lane, 1, width), inside >= 1 ? lane - 1 : lane);
        EXPECT_EQ(__shfl_down_sync(all, lane, 2, width), inside + 2 < width ? lane + 2 : lane);
        EXPECT_EQ(__shfl_xor_sync(all, static_cast<double>(lane), 1, width), width > 1 ? lane ^ 1 : lane);
      });
  });
}

TEST(CudaOnCpu, HalfAWarpMayMeetAlone) {
  run(1, 32, [] {
    if (threadIdx.x >= 16) return;
    EXPECT_EQ(__shfl_xor_sync(0xFFFF, threadIdx.x, 1), threadIdx.x ^ 1);
    __syncwarp(0xFFFF);
  });
}

TEST(CudaOnCpu, FaultsEndTheLaunch) {
  const auto diverged = [] {
    if (threadIdx.x % 2 == 0)
      __syncthreads();
    else
      __syncthreads();
  };
  EXPECT_ERROR(run(1, 64, diverged), std::runtime_error, "__syncthreads of one block at", "cuda_on_cpu_test.cpp");
  const auto missing = [] {
    if (threadIdx.x < 40) __syncthreads();
  };
  EXPECT_ERROR(run(3, 64, missing), std::runtime_error, "waits for ever for __syncthreads", "(block 0,0,0)");
  const auto missing_lane = [] {
    if (threadIdx.x < 31) __shfl_xor_sync(0xFFFFFFFF, 1, 1);
  };
  EXPECT_ERROR(run(1, 32, missing_lane), std::runtime_error, "waits for ever for a warp's other lanes");
  EXPECT_ERROR(run(1, 24, [] { __syncwarp(); }), std::runtime_error, "lane that does not exist", "thread 0");
  EXPECT_ERROR(run(1, 32, [] { __syncwarp(0xFFFF); }), std::runtime_error, "leaves the calling lane out", "thread 16");
  const auto outside_mask = [] {
    if (threadIdx.x < 16) __shfl_sync(0xFFFF, 1, 20);
  };
  EXPECT_ERROR(run(1, 32, outside_mask), std::runtime_error, "reads a lane that the mask leaves out");
  EXPECT_ERROR(run(1, 32, [] { __shfl_sync(0xFFFFFFFF, 1, 0, 12); }), std::runtime_error, "shuffle width");
  const auto beside = [] {
    JOINTTUNER_SHARED(float, values, 4);
    values[4] = 1;
  };
  EXPECT_ERROR(run(1, 1, beside), std::runtime_error, "a write beside shared memory (block 0,0,0)");
  EXPECT_ERROR(run(1, 1025, [] {}), std::runtime_error, "no GPU takes");
  EXPECT_ERROR(run(0, 32, [] {}), std::runtime_error, "no GPU takes");
  EXPECT_ERROR(run(1, 1, [] { run(1, 1, [] {}); }), std::runtime_error, "a launch inside a kernel");
  // And the next launch is as good as new.
  EXPECT_EQ(neighbours(true, true), expected_neighbours());
}

TEST(CudaOnCpu, BlockSumIsExactInEveryOrder) {
  for_each_order([] {
    double sums[2] = {};
    run(1, kThreads, [&] {
      for (int round = 0; round < 2; ++round) {
        const double sum = block_sum(static_cast<double>(threadIdx.x) + round);
        EXPECT_EQ(sum, 255 * 128 + 256 * round) << "thread " << threadIdx.x;
        sums[round] = sum;
      }
    });
    EXPECT_EQ(sums[0], 255 * 128);
  });
}

TEST(CudaOnCpu, PacksAreReadAndWrittenWithinTheirCount) {
  for_each_type([]<class T>() {
    for (const int64_t offset : kOffsets) {
      for (const int64_t count : {1, 3, 7, 8, 20}) {
        const Placed from(wave({count}, 0.4, 1, kType<T>), offset), to(unwritten({count}, kType<T>), offset);
        const int64_t packed = std::min<int64_t>(count, 8);
        cuda_on_cpu::reset_counters();
        run(1, 1, [&] { store<8>(to.template data<T>(), load<8>(from.template data<T>(), count), count); });
        EXPECT_TRUE(to.tensor().narrow(0, 0, packed).equal(from.tensor().narrow(0, 0, packed)));
        EXPECT_TRUE(to.tensor().slice(0, packed).eq(55).all().template item<bool>());
        EXPECT_EQ(cuda_on_cpu::bytes_read(), packed * sizeof(T));
        EXPECT_EQ(cuda_on_cpu::bytes_written(), packed * sizeof(T));
      }
    }
  });
}

}  // namespace
}  // namespace jointtuner::kernels::cuda
