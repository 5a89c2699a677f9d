// The steps of glora_linear (../glora_parts.h) between ATen and the launchers, for float32, float16 and bfloat16 on a
// given stream. Apart from the bindings so that tests can run them, and the whole of glora_linear on them, without a
// GPU.
#pragma once
#include <ATen/core/Tensor.h>

#include "device/stream.h"
#include "jointtuner/kernels/dropout_mask.h"

namespace jointtuner::kernels::cuda {

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups, cudaStream_t stream);
void gate_hidden_backward(const Tensor& gradient, const Tensor& hidden, const Tensor& logits, const Tensor& gate,
                          double scale, cudaStream_t stream);
void low_rank_update(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, const DropoutMask& mask,
                     cudaStream_t stream);
void low_rank_backward(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                       const Tensor& grad_up, double scale, const DropoutMask& mask, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
