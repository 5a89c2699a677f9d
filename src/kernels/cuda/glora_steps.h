// The steps of glora_linear (../glora_parts.h) between ATen and the launchers, for float32, float16 and bfloat16 on a
// given stream. Apart from the binding so that tests can run them, and the whole of glora_linear on them, without a
// GPU.
#pragma once
#include <ATen/core/Tensor.h>

#include "../glora_parts.h"
#include "device/stream.h"

namespace jointtuner::kernels::cuda {

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups, cudaStream_t stream);
void gate_hidden_backward(const parts::GateHiddenBackward& step, cudaStream_t stream);
void low_rank_update(const parts::LowRankUpdate& step, cudaStream_t stream);
void low_rank_backward(const parts::LowRankBackward& step, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
