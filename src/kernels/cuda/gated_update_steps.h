// gated_update between ATen and the launcher, for float32, float16 and bfloat16 on a given stream. Apart from the
// binding so that tests can run it without a GPU. The arguments are the operator's, and have passed its checks.
#pragma once
#include <optional>

#include "device/stream.h"
#include "jointtuner/kernels/dropout_mask.h"

namespace jointtuner::kernels::cuda {

void gated_update(const Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                  const DropoutMask& mask, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
