#include "src/kernels/cuda/gated_update.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "device_memory.h"
#include "jointtuner/kernels/gated_update.h"
#include "src/kernels/cuda/gated_update_steps.h"
#include "src/kernels/cuda/tensor_arguments.h"

namespace jointtuner::kernels::cuda {
namespace {

/// A seed and a site that use all their bits.
DropoutMask mask_of(double probability) { return {probability, 0x7123456789abcdef, 0x89abcdef}; }

/// groups 0: no gate.
template <class T>
void run_and_compare(int64_t elements, int64_t groups, int64_t offset, double dropout) {
  const DropoutMask mask = mask_of(dropout);
  const Placed y(wave({elements}, 0.1, 1, kType<T>), offset), update(wave({elements}, 0.7, 1, kType<T>), offset);
  const MaybeTensor gate = groups > 0 ? MaybeTensor(wave({groups}, 0.3, 1, at::kFloat)) : std::nullopt;
  const Tensor expected =
      elements == 0 ? y.tensor() : reference::gated_update(y.tensor(), update.tensor(), gate, 0.7, mask);
  gated_update<T>({y.data<T>(), update.data<T>(), gate ? gate->const_data_ptr<float>() : nullptr, elements,
                   groups > 0 ? elements / groups : elements, dropout_of(mask, 0.7)},
                  nullptr);
  expect_close(y.tensor(), expected, kTolerance<T>,
               fmt::format("{} elements, {} groups at {}, dropout {}", elements, groups, offset, dropout));
}

TEST(CudaGatedUpdate, EqualsReference) {
  for_each_order([] {
    for_each_type([]<class T>() {
      for (const int64_t elements : kSizes) {
        for (const int64_t offset : kOffsets) {
          for (const double dropout : {0.0, 0.3}) {
            run_and_compare<T>(elements, 0, offset, dropout);
            if (elements > 0) run_and_compare<T>(elements, 1, offset, dropout);
          }
        }
      }
      // Groups of 3, 11 and 17 elements: packs that lie in several. Of 241 and 1024: in two, in one.
      for (const auto& [elements, groups] : {std::pair{33, 11}, {33, 3}, {4097, 241}, {4097, 17}, {4096, 4}})
        run_and_compare<T>(elements, groups, groups % 4, 0.3);
    });
  });
}

TEST(CudaGatedUpdate, MaskIsTheDefinitionsBitForBit) {
  for (const double dropout : {0.0, 1e-9, 0.1, 0.5, 0.999, 1 - 1e-12}) {
    const DropoutMask mask = mask_of(dropout);
    Tensor y = at::zeros({1027}, at::kFloat);
    gated_update(y, at::ones({1027}, at::kFloat), std::nullopt, 1, mask, nullptr);
    EXPECT_TRUE(y.equal(reference::dropout_factors(y, mask))) << dropout;
  }
}

TEST(CudaGatedUpdate, StepTakesStridedUpdatesAndGates) {
  for_each_type([]<class T>() {
    const Tensor update = wave({9, 6}, 0.2, 1, kType<T>).t(), gate = wave({3, 2}, 0.4, 1, at::kFloat).select(1, 1);
    Tensor y = wave({6, 9}, 0.5, 1, kType<T>);
    const Tensor expected = reference::gated_update(y, update, gate, -1.3, mask_of(0.2));
    gated_update(y, update, gate, -1.3, mask_of(0.2), nullptr);
    expect_close(y, expected, kTolerance<T>, "strided");
  });
}

TEST(CudaGatedUpdate, MovesEachElementOnce) {
  for_each_type([]<class T>() {
    cuda_on_cpu::reset_counters();
    run_and_compare<T>(4096, 2, 0, 0.3);
    const uint64_t bytes = 4096 * sizeof(T);
    EXPECT_EQ(cuda_on_cpu::bytes_read(), 2 * bytes + bytes / 16 * sizeof(float));
    EXPECT_EQ(cuda_on_cpu::bytes_written(), bytes);
    EXPECT_EQ(cuda_on_cpu::launches(), 1U);
  });
}

}  // namespace
}  // namespace jointtuner::kernels::cuda
