#include "stand_in_memory.h"

#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

namespace jointtuner::testing {
namespace {

/// Added to a host address. Beyond what a process can map, so that the host cannot follow a device address.
constexpr uintptr_t kFar = uintptr_t{1} << 52;
constexpr int kPoison = 0xFF;
constexpr size_t kFreedBytesKept = size_t{64} << 20;  // freed memory stays poisoned until so much more is freed

void* device_address(const void* host) {
  return host ? reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(host) + kFar) : nullptr;
}

/// What all threads share.
struct State {
  std::mutex mutex;
  Traffic traffic;
  int64_t live = 0, peak = 0;
  std::deque<c10::Storage> freed;
  size_t freed_bytes = 0;
  std::map<const char*, size_t> pinned;  ///< address, bytes
};

State& state() {
  static State& state = *new State;  // never destroyed: tensors in static storage are freed at the very end
  return state;
}

void free_block(void* context) {
  auto* block = static_cast<c10::Storage*>(context);
  std::memset(block->mutable_data(), kPoison, block->nbytes());
  const std::lock_guard lock(state().mutex);
  state().live -= static_cast<int64_t>(block->nbytes());
  state().freed_bytes += block->nbytes();
  state().freed.push_back(std::move(*block));
  delete block;
  while (state().freed_bytes > kFreedBytesKept) {
    state().freed_bytes -= state().freed.front().nbytes();
    state().freed.pop_front();
  }
}

class DeviceAllocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, kStandIn};
    c10::DataPtr memory = c10::GetAllocator(c10::kCPU)->allocate(bytes);
    std::memset(memory.get(), kPoison, bytes);
    return device_memory(c10::Storage(c10::Storage::use_byte_size_t(), bytes, std::move(memory), nullptr, false));
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(host_address(to), host_address(from), bytes);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    const std::lock_guard lock(state().mutex);
    c10::CachingDeviceAllocator::DeviceStats stats;
    auto& bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    bytes.current = state().live;
    bytes.peak = state().peak;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {
    const std::lock_guard lock(state().mutex);
    state().peak = state().live;
  }
};

/// Host memory that copies need not wait for.
class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    auto* data = static_cast<char*>(c10::GetDefaultCPUAllocator()->raw_allocate(bytes));
    const std::lock_guard lock(state().mutex);
    state().pinned[data] = bytes;
    return {data, data, &freed, c10::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &freed; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

 private:
  static void freed(void* data) {
    {
      const std::lock_guard lock(state().mutex);
      state().pinned.erase(static_cast<char*>(data));
    }
    c10::GetDefaultCPUAllocator()->raw_deallocate(data);
  }
};

PinnedAllocator& pinned_allocator() {
  static PinnedAllocator allocator;
  return allocator;
}

/// One device with one stream: whatever is asked to wait has finished already.
class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kStandIn.type(); }
  c10::Device exchangeDevice(c10::Device) const override { return kStandIn; }
  c10::Device getDevice() const override { return kStandIn; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
  c10::Stream getNewStream(c10::Device, int) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const override { return stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { count_wait("synchronizeStream"); }
  void synchronizeEvent(void*) const override { count_wait("synchronizeEvent"); }
  void synchronizeDevice(c10::DeviceIndex) const override { count_wait("synchronizeDevice"); }

 private:
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, kStandIn); }
};

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  bool isPinnedPtr(const void* data) const override { return is_pinned(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator(); }
  c10::Device getDeviceFromPtr(void*) const override { return kStandIn; }
};

}  // namespace

void* host_address(const void* address) {
  return address ? reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(address) - kFar) : nullptr;
}

c10::DataPtr device_memory(c10::Storage host) {
  if (host.nbytes() == 0) return {nullptr, kStandIn};
  void* const address = device_address(host.data());
  const std::lock_guard lock(state().mutex);
  state().live += static_cast<int64_t>(host.nbytes());
  state().peak = std::max(state().peak, state().live);
  return {address, new c10::Storage(std::move(host)), &free_block, kStandIn};
}

c10::Allocator* device_allocator() {
  static auto& allocator = *new DeviceAllocator;
  return &allocator;
}

bool is_pinned(const void* host_address) {
  const std::lock_guard lock(state().mutex);
  auto after = state().pinned.upper_bound(static_cast<const char*>(host_address));
  if (after == state().pinned.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return static_cast<const char*>(host_address) < begin + bytes;
}

void register_stand_in_memory() {
  static const Guard guard;
  static Hooks hooks;
  c10::register_privateuse1_backend("standin");
  c10::SetAllocator(kStandIn.type(), device_allocator());
  const c10::impl::DeviceGuardImplRegistrar registrar(kStandIn.type(), &guard);
  at::RegisterPrivateUse1HooksInterface(&hooks);
}

void count_wait(std::string reason) {
  const std::lock_guard lock(state().mutex);
  state().traffic.waits.push_back(std::move(reason));
}

void count_copy(bool to_device, size_t bytes) {
  const std::lock_guard lock(state().mutex);
  Traffic& traffic = state().traffic;
  ++(to_device ? traffic.copies_in : traffic.copies_out);
  (to_device ? traffic.bytes_in : traffic.bytes_out) += static_cast<int64_t>(bytes);
}

Traffic taken_traffic() {
  const std::lock_guard lock(state().mutex);
  return std::exchange(state().traffic, {});
}

int64_t stand_in_bytes() {
  const std::lock_guard lock(state().mutex);
  return state().live;
}

}  // namespace jointtuner::testing
