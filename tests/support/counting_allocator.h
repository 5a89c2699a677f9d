// LibTorch's CPU memory, counted and bounded. While a CountingAllocator lives, all tensors of the process are made by
// it; tensors may outlive it.
#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <limits>

namespace jointtuner::testing {

class CountingAllocator {
 public:
  CountingAllocator() {
    reset();
    c10::SetCPUAllocator(&allocator());
  }
  ~CountingAllocator() { c10::SetCPUAllocator(c10::GetDefaultCPUAllocator()); }
  CountingAllocator(const CountingAllocator&) = delete;
  CountingAllocator& operator=(const CountingAllocator&) = delete;

  /// From here on: nothing counted, no bound.
  void reset() {
    counts().live = counts().peak = 0;
    counts().most = std::numeric_limits<int64_t>::max();
    counts().failures = 0;
  }
  /// Bytes held more than at the last reset, and the most of it.
  int64_t live() const { return counts().live; }
  int64_t peak() const { return counts().peak; }

  /// An allocation that would bring live() above `most` calls `fail`, which throws.
  void bound(int64_t most, std::function<void()> fail) {
    counts().most = most;
    counts().fail = std::move(fail);
  }
  int64_t failures() const { return counts().failures; }

 private:
  struct Counts {
    std::atomic<int64_t> live = 0, peak = 0, most = 0, failures = 0;
    std::function<void()> fail;
  };
  static Counts& counts() {
    static Counts counts;
    return counts;
  }

  class Allocator final : public c10::Allocator {
   public:
    // The size stands in front of the block, so that a block is its own context (raw_allocate relies on that).
    c10::DataPtr allocate(size_t bytes) override {
      Counts& count = counts();
      const auto size = static_cast<int64_t>(bytes);
      if (count.live + size > count.most) {
        ++count.failures;
        count.fail();
      }
      c10::DataPtr inner = c10::GetDefaultCPUAllocator()->allocate(bytes + kFront);
      char* block = static_cast<char*>(inner.release_context());
      std::memcpy(block, &size, sizeof size);
      count.live += size;
      count.peak = std::max<int64_t>(count.peak, count.live);
      return {block + kFront, block + kFront, &freed, at::kCPU};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &freed; }
    void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

   private:
    static constexpr size_t kFront = 64;  ///< LibTorch's alignment
    static void freed(void* data) {
      char* block = static_cast<char*>(data) - kFront;
      int64_t size = 0;
      std::memcpy(&size, block, sizeof size);
      counts().live -= size;
      c10::GetDefaultCPUAllocator()->raw_deallocate(block);
    }
  };
  static Allocator& allocator() {
    static Allocator allocator;
    return allocator;
  }
};

}  // namespace jointtuner::testing
