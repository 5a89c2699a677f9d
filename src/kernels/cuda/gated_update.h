// jointtuner/kernels/gated_update.h on a GPU: raw pointers, no ATen.
#pragma once
#include "device/dropout.h"

namespace jointtuner::kernels::cuda {

/// y += gate[group] * update * mask, in place: y, update [elements], gate [elements / group_elements] or null for 1.
/// The mask's kept factor holds the scale.
template <class T>
struct GatedUpdate {
  T* y;
  const T* update;
  const float* gate;
  int64_t elements, group_elements;
  Dropout mask;
};

/// T: float, c10::Half, c10::BFloat16.
template <class T>
void gated_update(const GatedUpdate<T>& arguments, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
