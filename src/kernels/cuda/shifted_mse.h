// jointtuner/kernels/shifted_mse.h on a GPU: raw pointers, no ATen.
#pragma once
#include <cstdint>

#include "device/stream.h"

namespace jointtuner::kernels::cuda {

/// prediction, target [items, per_item], an item being planes of `plane` pixels; shift [items, plane] or null. V, the
/// target's type, is T or float.
template <class T, class V>
struct ShiftedMse {
  const T* prediction;
  const V* target;
  const float* shift;
  float strength;
  int64_t items, per_item, plane;
};

/// How many float64 of work space shifted_mse needs.
int64_t shifted_mse_partial_sums(int64_t items, int64_t per_item);

/// loss [items] if `each_item`, else [1]: the mean of (prediction + strength shift - target)^2, summed in float64 in
/// two stages whose order the sizes alone decide. T: float, c10::Half, c10::BFloat16.
template <class T, class V>
void shifted_mse(const ShiftedMse<T, V>& arguments, double* partial_sums, float* loss, bool each_item,
                 cudaStream_t stream);

/// gradient [items, per_item] of prediction, from that of the loss: grad_loss [items] if `each_item`, else [1].
template <class T, class V>
void shifted_mse_backward(const ShiftedMse<T, V>& arguments, const float* grad_loss, bool each_item, T* gradient,
                          cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
