#include "src/kernels/cuda/add_noise.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "device_memory.h"
#include "jointtuner/kernels/add_noise.h"
#include "support/expect_error.h"

namespace jointtuner::kernels::cuda {
namespace {

constexpr int64_t kTimesteps = 10;

Tensor schedule() { return at::arange(kTimesteps, at::kFloat).mul(-0.099).add(0.95); }

template <class T>
void run_and_compare(int64_t items, int64_t per_item, int64_t offset, bool with_velocity) {
  const Placed latents(wave({items, per_item}, 0.1, 2, kType<T>), offset);
  const Placed noise(wave({items, per_item}, 0.7, 1, kType<T>), offset);
  const Placed noisy(unwritten({items, per_item}, kType<T>), offset);
  const Placed velocity(unwritten({items, per_item}, kType<T>), offset);
  const Tensor timestep = at::arange(items, at::kLong).mul(4).remainder(kTimesteps), table = schedule();
  add_noise<T>({latents.data<T>(), noise.data<T>(), timestep.const_data_ptr<int64_t>(), table.const_data_ptr<float>(),
                noisy.data<T>(), with_velocity ? velocity.data<T>() : nullptr, items, per_item, kTimesteps},
               nullptr);
  const auto expected = reference::add_noise_with_velocity(latents.tensor(), noise.tensor(), timestep, table);
  const std::string what = fmt::format("{} x {} at {}", items, per_item, offset);
  expect_close(noisy.tensor(), expected.noisy, kTolerance<T>, what);
  expect_close(velocity.tensor(), with_velocity ? expected.velocity : unwritten({items, per_item}, kType<T>),
               kTolerance<T>, what);
}

TEST(CudaAddNoise, EqualsReference) {
  for_each_order([] {
    for_each_type([]<class T>() {
      for (const int64_t per_item : kSizes)
        for (const int64_t offset : kOffsets)
          for (const int64_t items : {1, 3}) run_and_compare<T>(items, per_item, offset, offset != 1);
    });
  });
}

TEST(CudaAddNoise, EmptyBatchLaunchesNothing) {
  cuda_on_cpu::reset_counters();
  run_and_compare<float>(0, 7, 0, true);
  run_and_compare<float>(2, 0, 0, true);
  EXPECT_EQ(cuda_on_cpu::launches(), 0U);
}

TEST(CudaAddNoise, MovesEachElementOnce) {
  for_each_type([]<class T>() {
    cuda_on_cpu::reset_counters();
    run_and_compare<T>(2, 4096, 0, true);
    const uint64_t elements = 2 * 4096, packs = elements * sizeof(T) / 16;
    // Each pack reads its timestep and its row of the table too, from the first-level cache.
    EXPECT_EQ(cuda_on_cpu::bytes_read(), 2 * elements * sizeof(T) + packs * (sizeof(int64_t) + sizeof(float)));
    EXPECT_EQ(cuda_on_cpu::bytes_written(), 2 * elements * sizeof(T));
  });
}

TEST(CudaAddNoise, RefusesATimestepOutsideTheSchedule) {
  const Tensor latents = wave({1, 4}, 0, 1, at::kFloat), table = schedule();
  const Placed noisy(unwritten({1, 4}, at::kFloat));
  for (const int64_t t : {-1L, kTimesteps})
    EXPECT_ERROR(add_noise<float>({latents.const_data_ptr<float>(), latents.const_data_ptr<float>(), &t,
                                   table.const_data_ptr<float>(), noisy.data<float>(), nullptr, 1, 4, kTimesteps},
                                  nullptr),
                 std::runtime_error, "timestep outside the schedule", "block 0,0,0");
}

}  // namespace
}  // namespace jointtuner::kernels::cuda
