// The loss reads prediction and target once and writes next to nothing; backward reads them again and writes the
// gradient. The shift, 1 / (C F) of their size, stays in the caches.
#include "shifted_mse.h"

#include "device/block_sum.h"
#include "device/pack.h"

namespace jointtuner::kernels::cuda {
namespace {

/// Of the shift, for the elements first .. first + N - 1 of an item: planes follow each other, and all have the same.
template <int N>
__device__ Floats<N> shifts(const float* plane, int64_t size, int64_t first, int64_t count) {
  int64_t pixel = first % size;
  if (pixel + N <= size) return load<N>(plane + pixel);
  Floats<N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    result[i] = i < count ? read(plane + pixel) : 0.0F;
    if (++pixel == size) pixel = 0;
  }
  return result;
}

/// prediction + strength shift - target; elements behind the item's end hold nothing of use.
template <int N, class T, class V>
__device__ Floats<N> residuals(const ShiftedMse<T, V>& a, int64_t item, int64_t first, int64_t count) {
  const int64_t start = item * a.per_item + first;
  Floats<N> result = load<N>(a.prediction + start, count);
  const Floats<N> target = load<N>(a.target + start, count);
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] -= target[i];
  if (a.shift == nullptr) return result;
  const Floats<N> shift = shifts<N>(a.shift + item * a.plane, a.plane, first, count);
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] += a.strength * shift[i];
  return result;
}

template <class T, class V>
__global__ void __launch_bounds__(kThreads) partial_sums_kernel(ShiftedMse<T, V> a, double* partial_sums) {
  constexpr int kN = kPack<T>;
  for_each_item(a.items, [&](int64_t item) {
    double sum = 0;
    for_each_pack<kN>(a.per_item, [&](int64_t first, int64_t count) {
      const Floats<kN> residual = residuals<kN>(a, item, first, count);
#pragma unroll
      for (int i = 0; i < kN; ++i)
        if (i < count) sum += static_cast<double>(residual[i] * residual[i]);
    });
    sum = block_sum(sum);
    if (threadIdx.x == 0) write(partial_sums + item * gridDim.x + blockIdx.x, sum);
  });
}

/// One block a loss, which is the sum of `sums` neighbouring partial sums over `count`.
__global__ void __launch_bounds__(kThreads)
    losses_kernel(const double* partial_sums, int64_t sums, double count, float* loss) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < sums; i += kThreads) sum += read(partial_sums + blockIdx.x * sums + i);
  sum = block_sum(sum);
  if (threadIdx.x == 0) write(loss + blockIdx.x, static_cast<float>(sum / count));
}

template <class T, class V>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(ShiftedMse<T, V> a, const float* grad_loss, bool each_item, float two_over_count, T* gradient) {
  constexpr int kN = kPack<T>;
  for_each_pack<kN>(a.items, a.per_item, [&](int64_t item, int64_t first, int64_t count) {
    const float factor = two_over_count * read(grad_loss + (each_item ? item : 0));
    Floats<kN> residual = residuals<kN>(a, item, first, count);
#pragma unroll
    for (int i = 0; i < kN; ++i) residual[i] *= factor;
    store<kN>(gradient + item * a.per_item + first, residual, count);
  });
}

/// By the sizes alone, for every type: enough blocks to fill a GPU, few enough to be summed by one.
dim3 partial_sums_grid(int64_t items, int64_t per_item) { return packs_grid(items, per_item, 16, 64); }

int64_t averaged(int64_t items, int64_t per_item, bool each_item) { return each_item ? per_item : items * per_item; }

}  // namespace

int64_t shifted_mse_partial_sums(int64_t items, int64_t per_item) {
  return items * partial_sums_grid(items, per_item).x;
}

template <class T, class V>
void shifted_mse(const ShiftedMse<T, V>& a, double* partial_sums, float* loss, bool each_item, cudaStream_t stream) {
  if (a.items == 0 || a.per_item == 0) return;
  const dim3 grid = partial_sums_grid(a.items, a.per_item);
  launch("shifted_mse", partial_sums_kernel<T, V>, grid, kThreads, stream, a, partial_sums);
  const int64_t losses = each_item ? a.items : 1, sums = shifted_mse_partial_sums(a.items, a.per_item) / losses;
  launch("shifted_mse", losses_kernel, static_cast<unsigned>(losses), kThreads, stream, partial_sums, sums,
         static_cast<double>(averaged(a.items, a.per_item, each_item)), loss);
}

template <class T, class V>
void shifted_mse_backward(const ShiftedMse<T, V>& a, const float* grad_loss, bool each_item, T* gradient,
                          cudaStream_t stream) {
  if (a.items == 0 || a.per_item == 0) return;
  const auto two_over_count = static_cast<float>(2 / static_cast<double>(averaged(a.items, a.per_item, each_item)));
  launch("shifted_mse", backward_kernel<T, V>, packs_grid(a.items, a.per_item, kPack<T>), kThreads, stream, a,
         grad_loss, each_item, two_over_count, gradient);
}

#define JOINTTUNER_INSTANTIATE(T, V)                                                       \
  template void shifted_mse(const ShiftedMse<T, V>&, double*, float*, bool, cudaStream_t); \
  template void shifted_mse_backward(const ShiftedMse<T, V>&, const float*, bool, T*, cudaStream_t)
JOINTTUNER_INSTANTIATE(float, float);
JOINTTUNER_INSTANTIATE(c10::Half, c10::Half);
JOINTTUNER_INSTANTIATE(c10::Half, float);
JOINTTUNER_INSTANTIATE(c10::BFloat16, c10::BFloat16);
JOINTTUNER_INSTANTIATE(c10::BFloat16, float);
#undef JOINTTUNER_INSTANTIATE

}  // namespace jointtuner::kernels::cuda
