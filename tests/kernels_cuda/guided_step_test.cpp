#include "src/kernels/cuda/guided_step.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "device_memory.h"
#include "jointtuner/kernels/guided_step.h"
#include "src/kernels/cuda/guided_step_steps.h"

namespace jointtuner::kernels::cuda {
namespace {

/// Unclipped, x0 reaches 0.69 on both sides.
constexpr StepFactors kFactors{7.5F, 1.1F, -0.4F, 0.5F, 0.6F, -0.2F, 0.5F, 0.25F, 0.125F};

/// Which of unconditional, previous_x0 and noise are there, by bits.
template <class T>
void run_and_compare(int64_t elements, int64_t offset, unsigned present, bool clip) {
  const auto placed = [&](double phase) { return wave({elements}, phase, 1, kType<T>); };
  const Placed latents(placed(0.1), offset), conditional(placed(0.4), offset), unconditional(placed(0.7), offset),
      previous(placed(1.1), offset), noise(placed(1.5), offset);
  const Placed next(unwritten({elements}, kType<T>), offset), x0(unwritten({elements}, kType<T>), offset);
  StepFactors f = kFactors;
  if (!clip) f.x0_clip = std::numeric_limits<float>::infinity();
  const bool guided = present & 1, before = present & 2, noisy = present & 4;
  guided_step<T>({latents.data<T>(), conditional.data<T>(), guided ? unconditional.data<T>() : nullptr,
                  before ? previous.data<T>() : nullptr, noisy ? noise.data<T>() : nullptr, next.data<T>(),
                  x0.data<T>(), elements, f},
                 nullptr);
  const auto maybe = [](bool there, const Placed& tensor) {
    return there ? MaybeTensor(tensor.tensor()) : std::nullopt;
  };
  const StepCoefficients c{
      f.x0_from_latents,  f.x0_from_prediction, clip ? std::optional<double>(f.x0_clip) : std::nullopt,
      f.from_latents,     f.from_prediction,    f.from_x0,
      f.from_previous_x0, f.from_noise};
  const StepResult expected =
      reference::guided_step(latents.tensor(), {conditional.tensor(), maybe(guided, unconditional), f.guidance_scale},
                             c, maybe(before, previous), maybe(noisy, noise));
  const std::string what = fmt::format("{} at {}, present {}, clip {}", elements, offset, present, clip);
  expect_close(x0.tensor(), expected.x0, kTolerance<T>, "x0: " + what);
  expect_close(next.tensor(), expected.next, kTolerance<T>, "next: " + what);
}

TEST(CudaGuidedStep, EqualsReference) {
  for_each_order([] {
    for_each_type([]<class T>() {
      for (const int64_t elements : kSizes) {
        for (const int64_t offset : kOffsets) {
          run_and_compare<T>(elements, offset, 7, offset != 1);
          if (elements < 100)
            for (unsigned present = 0; present < 7; ++present) run_and_compare<T>(elements, offset, present, true);
        }
      }
    });
  });
}

TEST(CudaGuidedStep, ClipKeepsNotANumber) {
  const Tensor latents = wave({3}, 0, 1, at::kFloat), prediction = wave({3}, 1, 1, at::kFloat);
  latents[1] = std::numeric_limits<float>::quiet_NaN();
  StepCoefficients c;
  c.x0_from_latents = 10;
  c.x0_clip = 0.5;
  const StepResult result = guided_step(latents, {prediction, std::nullopt, 1}, c, std::nullopt, std::nullopt, nullptr);
  EXPECT_TRUE(std::isnan(result.x0[1].item<float>()));
  EXPECT_EQ(result.x0[2].item<float>(), -0.5F);
}

TEST(CudaGuidedStep, StepTakesOtherTypesAndStrides) {
  for_each_type([]<class T>() {
    const Tensor latents = wave({5, 8}, 0.2, 1, kType<T>).t(), conditional = wave({8, 5}, 0.4, 1, at::kHalf),
                 unconditional = wave({5, 8}, 0.8, 1, at::kHalf).t(), noise = wave({8, 5}, 1.3, 1, kType<T>);
    const StepCoefficients c{0.9, -0.3, std::nullopt, 0.4, 0.2, 0.7, 0, 0.6};
    const StepResult found = guided_step(latents, {conditional, unconditional, 3}, c, std::nullopt, noise, nullptr);
    const StepResult expected =
        reference::guided_step(latents, {conditional, unconditional, 3}, c, std::nullopt, noise);
    // A float16 prediction is rounded to bfloat16 latents' type first, as on the CPU: twice that type's rounding, times
    // the 6 that guidance and coefficients multiply it by.
    const double tolerance = kType<T> == at::kBFloat16 ? 6 * 8e-3 : kTolerance<T>;
    expect_close(found.x0, expected.x0, tolerance, "x0");
    expect_close(found.next, expected.next, tolerance, "next");
  });
}

TEST(CudaGuidedStep, MovesEachElementOnce) {
  for_each_type([]<class T>() {
    cuda_on_cpu::reset_counters();
    run_and_compare<T>(4096, 0, 7, true);
    EXPECT_EQ(cuda_on_cpu::bytes_read(), 5 * 4096 * sizeof(T));
    EXPECT_EQ(cuda_on_cpu::bytes_written(), 2 * 4096 * sizeof(T));
    EXPECT_EQ(cuda_on_cpu::launches(), 1U);
  });
}

}  // namespace
}  // namespace jointtuner::kernels::cuda
