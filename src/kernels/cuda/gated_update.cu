// Moves 3 sizeof(T) bytes an element; the composition, which widens, draws and multiplies in turn, some 20 times that.
#include "gated_update.h"

#include "device/dropout.h"

namespace jointtuner::kernels::cuda {
namespace {

/// The gates of elements first .. first + min(N, count) - 1, which may lie in several groups.
template <int N, class T>
__device__ Floats<N> gates(const GatedUpdate<T>& a, int64_t first, int64_t count) {
  int64_t group = first / a.group_elements, next = (group + 1) * a.group_elements - first;
  float gate = read(a.gate + group);
  Floats<N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (i == next && i < count) {
      gate = read(a.gate + ++group);
      next += a.group_elements;
    }
    result[i] = gate;
  }
  return result;
}

template <class T>
__global__ void __launch_bounds__(kThreads) gated_update_kernel(GatedUpdate<T> a) {
  constexpr int kN = kPack<T>;
  for_each_pack<kN>(a.elements, [&](int64_t first, int64_t count) {
    Floats<kN> y = load<kN>(a.y + first, count), update = load<kN>(a.update + first, count);
    if (a.gate != nullptr) {
      const Floats<kN> gate = gates<kN>(a, first, count);
#pragma unroll
      for (int i = 0; i < kN; ++i) update[i] *= gate[i];
    }
#pragma unroll
    for (int quad = 0; quad < kN; quad += 4) {
      const Floats<4> factors = dropout_factors(a.mask, first + quad);
#pragma unroll
      for (int i = 0; i < 4; ++i) y[quad + i] += update[quad + i] * factors[i];
    }
    store<kN>(a.y + first, y, count);
  });
}

}  // namespace

template <class T>
void gated_update(const GatedUpdate<T>& a, cudaStream_t stream) {
  if (a.elements == 0) return;
  launch("gated_update", gated_update_kernel<T>, packs_grid(1, a.elements, kPack<T>), kThreads, stream, a);
}

template void gated_update(const GatedUpdate<float>&, cudaStream_t);
template void gated_update(const GatedUpdate<c10::Half>&, cudaStream_t);
template void gated_update(const GatedUpdate<c10::BFloat16>&, cudaStream_t);

}  // namespace jointtuner::kernels::cuda
