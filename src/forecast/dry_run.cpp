#include "dry_run.h"

#include <c10/core/Allocator.h>

#include <algorithm>
#include <atomic>

#include "jointtuner/base/error.h"
#include "meta_kernels.h"

namespace jointtuner::forecast {

namespace {

constexpr int64_t kBlock = 512;     // kMinBlockSize of CUDACachingAllocator
constexpr uint8_t kPriority = 255;  // above LibTorch's own

int64_t in_blocks(int64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

/// Gives storages without memory; a storage's context is its size.
class CountingMeta final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const auto size = static_cast<int64_t>(bytes);
    live += size;
    live_in_blocks += in_blocks(size);
    peak = std::max(peak, live);
    peak_in_blocks = std::max(peak_in_blocks, live_in_blocks);
    return {nullptr, new int64_t(size), &freed, at::kMeta};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &freed; }
  void copy_data(void* /*to*/, const void* /*from*/, size_t /*bytes*/) const override {}

  static inline int64_t live = 0, live_in_blocks = 0, peak = 0, peak_in_blocks = 0;

 private:
  static void freed(void* context) {
    const auto* size = static_cast<int64_t*>(context);
    live -= *size;
    live_in_blocks -= in_blocks(*size);
    delete size;
  }
};

CountingMeta& counting() {
  static CountingMeta allocator;
  return allocator;
}

std::atomic<bool> running = false;

/// The right to count: one at a time.
struct Turn {
  Turn() {
    if (running.exchange(true))
      throw Error("a dry run is going on already: two at once would count each other's memory");
  }
  ~Turn() { running = false; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
};

}  // namespace

struct DryRun::Impl {
  explicit Impl(c10::Device described) : before(c10::GetAllocator(at::kMeta)), kernels(described.is_cuda()) {
    c10::SetAllocator(at::kMeta, &counting(), kPriority);
  }
  ~Impl() { c10::SetAllocator(at::kMeta, before, kPriority); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const Turn turn;
  c10::Allocator* before;
  MetaKernels kernels;
};

DryRun::DryRun(c10::Device described) : impl_(std::make_unique<Impl>(described)) {
  CountingMeta::live = CountingMeta::live_in_blocks = 0;
  start_peak();
}

DryRun::~DryRun() = default;

int64_t DryRun::live() const { return CountingMeta::live; }
int64_t DryRun::peak() const { return CountingMeta::peak; }
int64_t DryRun::peak_in_blocks() const { return CountingMeta::peak_in_blocks; }

void DryRun::start_peak() {
  CountingMeta::peak = CountingMeta::live;
  CountingMeta::peak_in_blocks = CountingMeta::live_in_blocks;
}

}  // namespace jointtuner::forecast
