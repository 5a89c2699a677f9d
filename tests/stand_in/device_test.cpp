// The stand-in is as strict as a CUDA GPU: what it refuses, counts and poisons.
#include "support/stand_in_device.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <optional>
#include <vector>

#include "jointtuner/base/device.h"
#include "jointtuner/base/generator.h"
#include "support/expect_error.h"
#include "support/stand_in_memory.h"

namespace jointtuner::testing {
namespace {

using at::Tensor;

Tensor numbers(at::IntArrayRef shape) { return at::arange(c10::multiply_integers(shape), at::kFloat).reshape(shape); }
Tensor on_device(const Tensor& tensor) { return tensor.to(stand_in()); }

Tensor indexed(const Tensor& tensor, const Tensor& index) {
  return at::index(tensor, c10::List<std::optional<Tensor>>({index}));
}

bool all_poison(const Tensor& host) {
  const auto* bytes = static_cast<const unsigned char*>(host.const_data_ptr());
  return std::all_of(bytes, bytes + host.nbytes(), [](unsigned char byte) { return byte == 0xFF; });
}

TEST(StandIn, IsNoDeviceThatAUserCanName) {
  stand_in();
  for (const char* name : {"standin", "standin:0", "privateuseone"}) EXPECT_THROW(parse_device(name), UsageError);
  EXPECT_NE(parse_device("auto").type(), at::kPrivateUse1);
}

TEST(StandIn, MovesThereAndBack) {
  const Tensor a = numbers({2, 3});
  EXPECT_EQ(on_device(a).device().str(), "standin:0");
  EXPECT_TRUE(at::equal(on_device(a).cpu(), a));
  EXPECT_TRUE(at::equal(on_device(a.t()).to(at::kDouble).cpu(), a.t().to(at::kDouble)));
}

TEST(StandIn, ComputesWhatTheCpuComputes) {
  const Tensor a = numbers({3, 4}), b = numbers({4, 5}), x = on_device(a), y = on_device(b);
  EXPECT_TRUE(at::equal(at::mm(x, y).cpu(), at::mm(a, b)));
  EXPECT_TRUE(at::equal((x * 2 + 1).exp().cpu(), (a * 2 + 1).exp()));
  EXPECT_TRUE(at::equal(at::cat({x, x}, 1).cpu(), at::cat({a, a}, 1)));
  EXPECT_TRUE(at::equal(at::arange(7, x.options()).cpu(), at::arange(7, at::kFloat)));  // resizes its result
  const Tensor image = numbers({1, 2, 5, 5}), weight = numbers({3, 2, 3, 3});
  EXPECT_TRUE(at::equal(at::conv2d(on_device(image), on_device(weight)).cpu(), at::conv2d(image, weight)));
  EXPECT_TRUE(at::equal(at::group_norm(on_device(image), 2).cpu(), at::group_norm(image, 2)));
  Tensor number = at::scalar_tensor(2.5, x.options().dtype(at::kDouble));
  number.unsafeGetTensorImpl()->set_wrapped_number(true);  // as LibTorch marks a C++ number: it promotes no tensor
  EXPECT_EQ((x.to(at::kLong) * number).scalar_type(), at::kFloat);
}

TEST(StandIn, ViewsShareMemoryAndResultsInPlaceAreTheArgument) {
  Tensor x = on_device(numbers({3, 4}));
  Tensor row = x.select(0, 1);
  row.mul_(0).add_(5);
  EXPECT_TRUE(at::equal(x.select(0, 1).cpu(), at::full({4}, 5.0f)));
  EXPECT_TRUE(x.view({-1}).is_alias_of(x) && x.t().is_alias_of(x));
  Tensor out = at::empty({0}, x.options());
  EXPECT_TRUE(at::add_out(out, x, x).is_same(out));
  EXPECT_TRUE(at::equal(out.cpu(), x.cpu() * 2));
  const at::AutoDispatchBelowADInplaceOrView kernels_alone;
  torch::jit::Stack stack{x, x, 1, out};
  c10::Dispatcher::singleton().findSchemaOrThrow("aten::add", "out").callBoxed(&stack);
  EXPECT_TRUE(stack.at(0).toTensor().is_same(out));
}

TEST(StandIn, Differentiates) {
  const auto gradient = [](Tensor x) {
    x = x.requires_grad_(true);
    (x.sin() * x).sum().backward();
    return x.grad();
  };
  const Tensor a = numbers({4, 4});
  const Tensor result = gradient(on_device(a));
  EXPECT_EQ(result.device(), stand_in());
  EXPECT_TRUE(at::equal(result.cpu(), gradient(a.clone())));
}

TEST(StandIn, RefusesWhatCudaRefuses) {
  const Tensor cpu = numbers({3, 3}), x = on_device(cpu), number = at::scalar_tensor(2.0f);
  const Tensor index = at::arange(2, at::kLong);
  Tensor out = cpu;
  EXPECT_ERROR(x + cpu, c10::Error, "same device", "other [3, 3] is on cpu", "aten::add.Tensor");
  EXPECT_ERROR(at::mm(x, cpu), c10::Error, "same device", "aten::mm");
  EXPECT_ERROR(at::linear(x, x, cpu[0]), c10::Error, "same device");
  EXPECT_ERROR(at::cat({x, cpu}), c10::Error, "same device", "aten::cat");
  EXPECT_ERROR(x.index_select(0, index), c10::Error, "same device", "index [2] is on cpu");
  EXPECT_ERROR(at::embedding(x, index), c10::Error, "same device");
  EXPECT_ERROR(x.gather(0, at::zeros({1, 1}, at::kLong)), c10::Error, "same device");
  EXPECT_ERROR(at::mv(x, cpu[0]), c10::Error, "same device");
  EXPECT_ERROR(at::stack({x, cpu}), c10::Error, "same device");
  EXPECT_ERROR(at::cat({x[0], number.view({1})}), c10::Error, "same device");
  EXPECT_ERROR(at::add_out(out, x, x), c10::Error, "same device");
  EXPECT_ERROR(at::addcmul(x, number, number), c10::Error, "same device");  // two numbers
  EXPECT_ERROR(at::silu_backward(x, number), c10::Error, "same device");    // elementwise, but checked
  EXPECT_ERROR(at::_fused_adamw_({x}, {x}, {x}, {x}, {}, {number}, 1, 0.9, 0.99, 0, 1e-8, false, false), c10::Error,
               "same device", "_fused_adamw_");
  Tensor sum = number.clone();  // a number may be read, not written
  EXPECT_ERROR(at::add_out(sum, x[0][0], x[0][0]), c10::Error, "same device", "aten::add.out");
}

TEST(StandIn, TakesWhatCudaTakes) {
  const Tensor cpu = numbers({3, 3}), x = on_device(cpu), number = at::scalar_tensor(2.0f);
  EXPECT_TRUE(at::equal((x * number).cpu(), cpu * 2));
  EXPECT_TRUE(at::equal((number - x).cpu(), 2 - cpu));
  EXPECT_TRUE(at::equal(at::where(x > 4, x, number).cpu(), at::where(cpu > 4, cpu, number)));
  EXPECT_TRUE(at::equal(x.clone().fill_(number).cpu(), at::full({3, 3}, 2.0f)));
  const Tensor index = at::arange(2, at::kLong);
  taken_traffic();
  const Tensor picked = indexed(x, index);
  const Traffic traffic = taken_traffic();
  EXPECT_EQ(traffic.copies_in, 1);
  EXPECT_EQ(traffic.waits.size(), 1U);
  EXPECT_TRUE(at::equal(picked.cpu(), indexed(cpu, index)));
}

TEST(StandIn, HasNoKernelWhereCudaHasNone) {
  const Tensor x = on_device(numbers({3, 3}));
  EXPECT_THROW(at::histogram(x, 3), c10::Error);
  EXPECT_THROW(at::_add_relu(x, x), c10::Error);
  Tensor y = x;
  EXPECT_ERROR(y.normal_(0, 1, generator(1, 0, "cpu")), c10::Error, "generator");
}

TEST(StandIn, CountsWaitsAndCopies) {
  taken_traffic();
  const Tensor host = numbers({2, 3});
  Tensor x = on_device(host);
  Traffic traffic = taken_traffic();
  EXPECT_EQ(traffic.waits, (std::vector<std::string>{"aten::copy_ of Float [2, 3] to the device"}));
  EXPECT_EQ(traffic.copies_in, 1);
  EXPECT_EQ(traffic.bytes_in, 24);

  const Tensor y = (x * 2).sum() + at::zeros({}, x.options());
  EXPECT_TRUE(taken_traffic().waits.empty());
  y.item();
  traffic = taken_traffic();
  EXPECT_EQ(traffic.waits.size(), 1U);
  EXPECT_EQ(traffic.bytes_out, 4);
  x.cpu();
  traffic = taken_traffic();
  EXPECT_EQ(traffic.waits.size(), 1U);
  EXPECT_EQ(traffic.bytes_out, 24);
  const Tensor mask = x > 2, counts = mask.to(at::kLong).view({-1});
  const c10::impl::VirtualGuardImpl guard(stand_in().type());
  for (const auto& reads : std::vector<std::function<void()>>{
           [&] { at::nonzero(x); }, [&] { at::repeat_interleave(counts); }, [&] { x.clone().masked_fill_(mask, y); },
           [&] { guard.synchronizeStream(guard.getStream(stand_in())); }, [&] { guard.synchronizeDevice(0); },
           [&] { guard.synchronizeEvent(nullptr); }, [&] { at::equal(x, x); }, [&] { y.is_nonzero(); },
           [&] { indexed(x, x > 2); }, [&] { at::masked_select(x, x > 2); }, [&] { at::allclose(x, x); }}) {
    taken_traffic();
    reads();
    EXPECT_EQ(taken_traffic().waits.size(), 1U);
  }
}

TEST(StandIn, PinnedCopiesDoNotWait) {
  const Tensor host = numbers({2, 3});
  taken_traffic();
  const Tensor x = to_device(host, stand_in());
  const Traffic traffic = taken_traffic();
  EXPECT_TRUE(traffic.waits.empty()) << traffic.waits[0];
  EXPECT_EQ(traffic.copies_in, 1);
  EXPECT_TRUE(at::equal(x.cpu(), host));
  taken_traffic();
  host.to(x.options(), /*non_blocking=*/true);  // from memory that is not pinned
  EXPECT_EQ(taken_traffic().waits.size(), 1U);
  Tensor pinned = host.pin_memory();
  pinned.to(x.options());
  EXPECT_EQ(taken_traffic().waits.size(), 1U);
  const char* const begin = static_cast<const char*>(pinned.const_data_ptr());
  EXPECT_TRUE(is_pinned(begin + 23));
  EXPECT_FALSE(is_pinned(begin + 24));
  pinned = Tensor();
  EXPECT_FALSE(is_pinned(begin));
}

TEST(StandIn, TheHostCannotFollowItsAddresses) {
  const Tensor x = on_device(numbers({4}));
  EXPECT_EXIT(std::printf("%f", static_cast<double>(*x.const_data_ptr<float>())), ::testing::KilledBySignal(SIGSEGV),
              "");
}

TEST(StandIn, ThePeakIsTheMostHeldSinceTheLastReset) {
  auto* const allocator = c10::getDeviceAllocator(stand_in().type());
  const auto peak = [&] {
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    return allocator->getDeviceStats(0).allocated_bytes[kAll].peak;
  };
  on_device(numbers({100}));
  allocator->resetPeakStats(0);
  EXPECT_EQ(peak(), stand_in_bytes());
  on_device(numbers({10}));
  EXPECT_EQ(peak(), stand_in_bytes() + 40);
}

TEST(StandIn, MemoryIsPoisonedWhenFreshAndWhenFreed) {
  Tensor x = at::empty({64}, at::TensorOptions(stand_in()));
  EXPECT_TRUE(all_poison(seen_by_host(x)));
  for (const bool from_kernel : {false, true}) {
    Tensor used = on_device(numbers({64}));
    if (from_kernel) used = used + 1;
    const Tensor host = seen_by_host(used);
    const int64_t held = stand_in_bytes();
    EXPECT_FALSE(all_poison(host));
    used = Tensor();
    EXPECT_TRUE(all_poison(host)) << from_kernel;
    EXPECT_EQ(stand_in_bytes(), held - 256);
  }
}

}  // namespace
}  // namespace jointtuner::testing
