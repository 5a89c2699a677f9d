#include "src/inject/offload.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <utility>

#include "support/counting_allocator.h"

namespace jointtuner::inject {
namespace {

/// A recorded activation of that many floats.
Tensor activation(int64_t size, double value) {
  static const Tensor leaf = at::zeros({1}).requires_grad_(true);  // the graph keeps it
  return leaf.add(at::full({size}, value));
}

std::shared_ptr<HostMemory> host_memory(at::Device device = at::kCPU) { return std::make_shared<HostMemory>(device); }

TEST(HostMemory, BuffersAreReusedSmallestFirst) {
  HostMemory host(at::kCPU);
  HostMemory::Buffer small = host.take(100), large = host.take(200);
  const void* small_data = small.bytes.data_ptr();
  EXPECT_EQ(host.allocated_bytes(), 300);
  host.give_back(std::move(large));
  host.give_back(std::move(small));
  const HostMemory::Buffer first = host.take(90), second = host.take(90);
  EXPECT_EQ(first.bytes.data_ptr(), small_data);
  EXPECT_EQ(second.size_bytes, 200);
  EXPECT_EQ(host.allocated_bytes(), 300);
  HostMemory::Buffer third = host.take(10);
  EXPECT_EQ(third.size_bytes, 10);
  EXPECT_EQ(host.allocated_bytes(), 310);
  host.give_back(std::move(third));
  EXPECT_EQ(host.take(11).size_bytes, 11);  // the free one is too small
}

TEST(OffloadedInputs, TakesRecordedActivationsOnly) {
  const Tensor recorded = activation(6, 1).view({2, 3});
  EXPECT_TRUE(OffloadedInputs::takes(recorded));
  EXPECT_TRUE(OffloadedInputs::takes(recorded.t()));
  EXPECT_FALSE(OffloadedInputs::takes(recorded.narrow(1, 0, 2)));             // gaps
  EXPECT_FALSE(OffloadedInputs::takes(recorded.detach()));                    // a weight, text states
  EXPECT_FALSE(OffloadedInputs::takes(at::zeros({2}).requires_grad_(true)));  // an adapter
}

TEST(OffloadedInputs, ValuesAndStridesComeBack) {
  OffloadedInputs inputs(host_memory());
  const Tensor wide = at::arange(6, at::kFloat).requires_grad_(true).mul(1).view({2, 3}).t();
  const Tensor half = activation(5, 0.25).to(at::kHalf);
  const size_t first = inputs.park({wide, half});
  const size_t second = inputs.park({activation(3, 2), activation(0, 0)});
  const std::vector<Tensor> later = inputs.fetch(second), earlier = inputs.fetch(first);
  EXPECT_TRUE(at::equal(later[0], at::full({3}, 2.0)));
  EXPECT_EQ(later[1].numel(), 0);
  EXPECT_TRUE(at::equal(earlier[0], wide.detach()));
  EXPECT_EQ(earlier[0].strides(), wide.strides());
  EXPECT_TRUE(at::equal(earlier[1], half.detach()));
  EXPECT_EQ(earlier[1].scalar_type(), at::kHalf);
  EXPECT_FALSE(earlier[0].requires_grad());
  EXPECT_TRUE(at::equal(inputs.fetch(first)[0], wide.detach()));  // differentiated twice
}

/// The device is the CPU here; what host buffers take is taken off.
TEST(OffloadedInputs, TheDeviceHoldsTwoSegmentsInputs) {
  activation(1, 0);  // whose leaf is not to be counted
  const testing::CountingAllocator memory;
  const auto host = host_memory();
  OffloadedInputs inputs(host);
  const auto device_bytes = [&] { return memory.live() - host->allocated_bytes(); };
  constexpr int64_t kInput = 4 * 1000;
  for (int segment = 0; segment < 4; ++segment) {
    const Tensor input = activation(1000, segment);
    EXPECT_EQ(device_bytes(), (segment > 0 ? 2 : 1) * kInput);
    inputs.park({input});
    EXPECT_EQ(device_bytes(), kInput);  // those of the last segment are gone
  }
  EXPECT_EQ(device_bytes(), kInput);
  EXPECT_EQ(host->allocated_bytes(), 4 * kInput);
  for (size_t segment = 4; segment-- > 0;) {
    const std::vector<Tensor> fetched = inputs.fetch(segment);
    EXPECT_TRUE(at::equal(fetched[0], at::full({1000}, static_cast<double>(segment))));
    EXPECT_EQ(device_bytes(), (segment > 0 ? 2 : 1) * kInput);
  }
  EXPECT_EQ(device_bytes(), 0);
}

TEST(OffloadedInputs, ASharedInputIsCopiedOutOnceAndAChangedOneAgain) {
  const auto host = host_memory();
  OffloadedInputs inputs(host);
  const Tensor shared = activation(1000, 1);
  const size_t first = inputs.park({shared, activation(10, 1)});
  const size_t second = inputs.park({shared.alias(), activation(10, 2)});
  EXPECT_EQ(host->allocated_bytes(), 4000 + 2 * 40);
  shared.detach().mul_(2);
  const size_t third = inputs.park({shared});
  EXPECT_EQ(host->allocated_bytes(), 2 * 4000 + 2 * 40);
  EXPECT_TRUE(at::equal(inputs.fetch(third)[0], at::full({1000}, 2.0)));
  EXPECT_TRUE(at::equal(inputs.fetch(second)[0], at::full({1000}, 1.0)));
  EXPECT_TRUE(at::equal(inputs.fetch(first)[0], at::full({1000}, 1.0)));
}

TEST(OffloadedInputs, TheNextRunReusesTheBuffers) {
  const auto host = host_memory();
  for (int run = 0; run < 3; ++run) {
    OffloadedInputs inputs(host);
    for (int segment = 0; segment < 3; ++segment) inputs.park({activation(100 + segment, run)});
    EXPECT_TRUE(at::equal(inputs.fetch(1)[0], at::full({101}, static_cast<double>(run))));
    EXPECT_EQ(host->allocated_bytes(), 4 * (100 + 101 + 102));
  }
}

TEST(OffloadedInputs, OnMetaOnlySizesAreCounted) {
  const testing::CountingAllocator memory;
  const auto host = host_memory(at::kMeta);
  OffloadedInputs inputs(host);
  const Tensor input = at::empty({1000, 3}, at::kMeta).requires_grad_(true).transpose(0, 1);
  const size_t segment = inputs.park({input});
  inputs.park({});
  const Tensor back = inputs.fetch(segment)[0];
  EXPECT_EQ(back.sizes(), input.sizes());
  EXPECT_EQ(back.strides(), input.strides());
  EXPECT_TRUE(back.is_meta());
  EXPECT_EQ(host->allocated_bytes(), 12000);
  EXPECT_EQ(memory.peak(), 0);
}

/// A CUDA of two streams, each a clock: how much work of both is done when the next work of this one begins. What is
/// given to the side stream counts as one piece of work.
class Clocks final : public c10::impl::DeviceGuardImplInterface {
 public:
  static constexpr c10::StreamId kMain = 0, kSide = 1;
  using Clock = std::array<int, 2>;

  void work() const { ++clocks_[current_][current_]; }
  int done(c10::StreamId of, c10::StreamId seen_by) const { return clocks_[seen_by][of]; }
  c10::StreamId current() const { return current_; }

  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device) const override { return device(); }
  c10::Device getDevice() const override { return device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device) const override { return stream(current_); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return stream(kSide); }
  c10::Stream exchangeStream(c10::Stream to) const override {
    if (to.id() == kSide) ++clocks_[kSide][kSide];
    return stream(std::exchange(current_, to.id()));
  }
  void record(void** event, const c10::Stream& on, c10::DeviceIndex, c10::EventFlag) const override {
    if (!*event) *event = new Clock;
    *static_cast<Clock*>(*event) = clocks_[on.id()];
  }
  void block(void* event, const c10::Stream& blocked) const override {
    for (size_t i = 0; i < 2; ++i)
      clocks_[blocked.id()][i] = std::max(clocks_[blocked.id()][i], (*static_cast<Clock*>(event))[i]);
  }
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void* event, c10::DeviceIndex) const noexcept override { delete static_cast<Clock*>(event); }

 private:
  static c10::Device device() { return {c10::kCUDA, 0}; }
  static c10::Stream stream(c10::StreamId id) { return c10::Stream(c10::Stream::UNSAFE, device(), id); }

  mutable c10::StreamId current_ = kMain;
  mutable std::array<Clock, 2> clocks_{};
};

class OnClocks : public ::testing::Test {
 protected:
  static constexpr auto kMain = Clocks::kMain, kSide = Clocks::kSide;

  void SetUp() override {
    if (c10::impl::hasDeviceGuardImpl(c10::kCUDA)) GTEST_SKIP() << "LibTorch's own CUDA is linked";
    c10::impl::registerDeviceGuard(c10::kCUDA, &clocks_);
  }
  void TearDown() override {
    if (!IsSkipped()) c10::impl::registerDeviceGuard(c10::kCUDA, nullptr);
  }

  const Clocks clocks_{};
};

TEST_F(OnClocks, CopiesRunBesideTheCurrentStreamAndInOrder) {
  HostMemory host(at::Device(at::kCUDA, 0));
  const Tensor from = at::arange(4, at::kFloat), to = at::zeros({4});

  clocks_.work();  // makes `from`
  HostMemory::Done out = host.start_copy(to, from);
  EXPECT_TRUE(at::equal(to, from));
  EXPECT_EQ(clocks_.current(), kMain);
  EXPECT_EQ(clocks_.done(kMain, kSide), 1);  // the copy began after what made `from`
  EXPECT_EQ(clocks_.done(kSide, kSide), 1);
  clocks_.work();
  EXPECT_EQ(clocks_.done(kSide, kMain), 0);  // which did not wait for the copy
  HostMemory::Done back = host.start_copy(from, to);
  EXPECT_EQ(clocks_.done(kMain, kSide), 2);
  host.wait(out);
  EXPECT_EQ(clocks_.done(kSide, kMain), 1);  // for the first copy only
  host.wait(out);
  host.wait(back);
  EXPECT_EQ(clocks_.done(kSide, kMain), 2);
}

TEST_F(OnClocks, ATensorIsLetGoOrUsedOrGivenUpAfterItsCopy) {
  const auto host = host_memory(at::Device(at::kCUDA, 0));
  host->give_back({16, at::empty({16}, at::kByte)});  // there is no pinned memory here
  {
    OffloadedTensor tensor(host, at::arange(4, at::kFloat));
    EXPECT_EQ(clocks_.done(kSide, kMain), 0);  // the copy out runs on
    tensor.release();
    EXPECT_EQ(clocks_.done(kSide, kMain), 1);
    tensor.prefetch();
    EXPECT_EQ(clocks_.done(kSide, kMain), 1);  // as the one back does
    EXPECT_TRUE(at::equal(tensor.take(), at::arange(4, at::kFloat)));
    EXPECT_EQ(clocks_.done(kSide, kMain), 2);
    tensor.prefetch();
    EXPECT_EQ(clocks_.done(kSide, kMain), 2);
  }
  EXPECT_EQ(clocks_.done(kSide, kMain), 3);
}

}  // namespace
}  // namespace jointtuner::inject
