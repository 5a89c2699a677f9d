#include "add_noise.h"

#include "device/diffusion.h"
#include "device/pack.h"

namespace jointtuner::kernels::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads) add_noise_kernel(AddNoise<T> a) {
  constexpr int kN = kPack<T>;
  for_each_pack<kN>(a.items, a.per_item, [&](int64_t item, int64_t first, int64_t count) {
    const int64_t t = read(a.timestep + item), start = item * a.per_item + first;
    JOINTTUNER_KERNEL_CHECK(t >= 0 && t < a.timesteps, "add_noise: timestep outside the schedule");
    const Diffused diffused(read(a.alphas_cumprod + t));
    const Floats<kN> latents = load<kN>(a.latents + start, count), noise = load<kN>(a.noise + start, count);
    Floats<kN> result;
#pragma unroll
    for (int i = 0; i < kN; ++i) result[i] = diffused.noisy(latents[i], noise[i]);
    store<kN>(a.noisy + start, result, count);
    if (a.velocity == nullptr) return;
#pragma unroll
    for (int i = 0; i < kN; ++i) result[i] = diffused.velocity(latents[i], noise[i]);
    store<kN>(a.velocity + start, result, count);
  });
}

}  // namespace

template <class T>
void add_noise(const AddNoise<T>& a, cudaStream_t stream) {
  if (a.items == 0 || a.per_item == 0) return;
  launch("add_noise", add_noise_kernel<T>, packs_grid(a.items, a.per_item, kPack<T>), kThreads, stream, a);
}

template void add_noise(const AddNoise<float>&, cudaStream_t);
template void add_noise(const AddNoise<c10::Half>&, cudaStream_t);
template void add_noise(const AddNoise<c10::BFloat16>&, cudaStream_t);

}  // namespace jointtuner::kernels::cuda
