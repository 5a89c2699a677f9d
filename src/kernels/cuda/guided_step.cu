// Moves sizeof(T) bytes an element of each tensor that is there: 4 (latents, prediction, next, x0) to 7 of them.
#include "guided_step.h"

#include "device/diffusion.h"
#include "device/pack.h"

namespace jointtuner::kernels::cuda {
namespace {

/// sum += factor * p[0 .. N), for a tensor that is there.
template <int N, class T>
__device__ void add(Floats<N>& sum, float factor, const T* p, int64_t first, int64_t count) {
  if (p == nullptr) return;
  const Floats<N> values = load<N>(p + first, count);
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] += factor * values[i];
}

template <class T>
__global__ void __launch_bounds__(kThreads) guided_step_kernel(GuidedStep<T> a) {
  constexpr int kN = kPack<T>;
  const StepFactors& f = a.factors;
  for_each_pack<kN>(a.elements, [&](int64_t first, int64_t count) {
    const Floats<kN> x = load<kN>(a.latents + first, count);
    Floats<kN> prediction = load<kN>(a.conditional + first, count);
    if (a.unconditional != nullptr) {
      const Floats<kN> unconditional = load<kN>(a.unconditional + first, count);
#pragma unroll
      for (int i = 0; i < kN; ++i) prediction[i] = guided(prediction[i], unconditional[i], f.guidance_scale);
    }
    Floats<kN> x0, next;
#pragma unroll
    for (int i = 0; i < kN; ++i) {
      x0[i] = clipped(f.x0_from_latents * x[i] + f.x0_from_prediction * prediction[i], f.x0_clip);
      next[i] = f.from_latents * x[i] + f.from_prediction * prediction[i] + f.from_x0 * x0[i];
    }
    add(next, f.from_previous_x0, a.previous_x0, first, count);
    add(next, f.from_noise, a.noise, first, count);
    store<kN>(a.next + first, next, count);
    store<kN>(a.x0 + first, x0, count);
  });
}

}  // namespace

template <class T>
void guided_step(const GuidedStep<T>& a, cudaStream_t stream) {
  if (a.elements == 0) return;
  launch("guided_step", guided_step_kernel<T>, packs_grid(1, a.elements, kPack<T>), kThreads, stream, a);
}

template void guided_step(const GuidedStep<float>&, cudaStream_t);
template void guided_step(const GuidedStep<c10::Half>&, cudaStream_t);
template void guided_step(const GuidedStep<c10::BFloat16>&, cudaStream_t);

}  // namespace jointtuner::kernels::cuda
