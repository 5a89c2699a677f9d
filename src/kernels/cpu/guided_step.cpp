#include "jointtuner/kernels/guided_step.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <array>

#include "../accumulation.h"
#include "../guided_step_arguments.h"

namespace jointtuner::kernels::cpu {
namespace {

constexpr int64_t kRun = 1024;  // elements worked on in the first-level cache

Tensor like(const Tensor& tensor, const Tensor& latents) { return tensor.to(latents.scalar_type()).contiguous(); }

template <class T>
class Step {
  using U = accumulation_t<T>;

 public:
  Step(const Tensor& latents, const GuidedPrediction& p, const StepCoefficients& c,
       const std::optional<Tensor>& previous_x0, const std::optional<Tensor>& noise)
      : latents_(latents.contiguous()),
        conditional_(like(p.conditional, latents)),
        unconditional_(p.unconditional ? like(*p.unconditional, latents) : Tensor()),
        previous_x0_(previous_x0 ? like(*previous_x0, latents) : Tensor()),
        noise_(noise ? like(*noise, latents) : Tensor()),
        guidance_scale_(static_cast<U>(p.guidance_scale)),
        c_(c),
        result_{at::empty_like(latents_), at::empty_like(latents_)} {}

  StepResult run() {
    at::parallel_for(0, latents_.numel(), 8 * kRun, [&](int64_t first, int64_t last) {
      for (int64_t start = first; start < last; start += kRun) run_elements(start, std::min(kRun, last - start));
    });
    return result_;
  }

 private:
  using Run = std::array<U, kRun>;

  static const T* data(const Tensor& tensor, int64_t start) { return tensor.const_data_ptr<T>() + start; }

  void predict(int64_t start, int64_t n, Run& prediction) const {
    const T* conditional = data(conditional_, start);
    for (int64_t i = 0; i < n; ++i) prediction[i] = static_cast<U>(conditional[i]);
    if (!unconditional_.defined()) return;
    const T* unconditional = data(unconditional_, start);
    for (int64_t i = 0; i < n; ++i) {
      const U u = static_cast<U>(unconditional[i]);
      prediction[i] = u + guidance_scale_ * (prediction[i] - u);
    }
  }

  static void add(const Tensor& tensor, int64_t start, int64_t n, double coefficient, Run& sum) {
    if (!tensor.defined()) return;
    const T* values = data(tensor, start);
    const auto factor = static_cast<U>(coefficient);
    for (int64_t i = 0; i < n; ++i) sum[i] += factor * static_cast<U>(values[i]);
  }

  void run_elements(int64_t start, int64_t n) {
    Run prediction, x0, next;
    predict(start, n, prediction);
    const T* x = data(latents_, start);
    const auto a = static_cast<U>(c_.x0_from_latents), b = static_cast<U>(c_.x0_from_prediction);
    for (int64_t i = 0; i < n; ++i) x0[i] = a * static_cast<U>(x[i]) + b * prediction[i];
    if (c_.x0_clip) {
      // Written so that a NaN stays one.
      const auto limit = static_cast<U>(*c_.x0_clip);
      for (int64_t i = 0; i < n; ++i) x0[i] = x0[i] < -limit ? -limit : (x0[i] > limit ? limit : x0[i]);
    }
    const auto p = static_cast<U>(c_.from_latents), q = static_cast<U>(c_.from_prediction),
               r = static_cast<U>(c_.from_x0);
    for (int64_t i = 0; i < n; ++i) next[i] = p * static_cast<U>(x[i]) + q * prediction[i] + r * x0[i];
    add(previous_x0_, start, n, c_.from_previous_x0, next);
    add(noise_, start, n, c_.from_noise, next);
    T *next_out = result_.next.template mutable_data_ptr<T>() + start,
      *x0_out = result_.x0.template mutable_data_ptr<T>() + start;
    for (int64_t i = 0; i < n; ++i) next_out[i] = static_cast<T>(next[i]);
    for (int64_t i = 0; i < n; ++i) x0_out[i] = static_cast<T>(x0[i]);
  }

  Tensor latents_, conditional_, unconditional_, previous_x0_, noise_;
  U guidance_scale_;
  StepCoefficients c_;
  StepResult result_;
};

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const std::optional<Tensor>& previous_x0, const std::optional<Tensor>& noise) {
  return AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, latents.scalar_type(), "guided_step", [&] {
    return Step<scalar_t>(latents, prediction, coefficients, previous_x0, noise).run();
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CPU, m) { m.impl("guided_step", guided_step_kernel<guided_step>); }

}  // namespace jointtuner::kernels::cpu
