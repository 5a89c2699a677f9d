// The dropout mask applied to runs of contiguous elements, drawn as it is used.
#pragma once
#include <cstdint>

#include "jointtuner/kernels/dropout_mask.h"

namespace jointtuner::kernels::cpu {

/// y[i] += factor * Dropout(u)[first + i] for i in [0, n): `first` is the flat index of y[0] in the masked tensor.
/// T: float, double, at::Half, at::BFloat16; U: float or double.
template <class T, class U>
void add_dropped(T* y, const U* u, int64_t n, int64_t first, double factor, const DropoutMask& mask);

/// out[i] = Dropout(in)[first + i].
template <class T, class U>
void drop(U* out, const T* in, int64_t n, int64_t first, const DropoutMask& mask);

}  // namespace jointtuner::kernels::cpu
