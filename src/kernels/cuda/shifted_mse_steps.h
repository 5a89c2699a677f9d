// shifted_mse between ATen and the launcher, for float32, float16 and bfloat16 on a given stream. Apart from the
// binding so that tests can run it without a GPU. The arguments are the operator's, and have passed its checks.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "device/stream.h"

namespace jointtuner::kernels::cuda {

using at::Tensor;

/// What is compared, in the loss and in its backward pass.
struct Compared {
  Tensor prediction, target;
  std::optional<Tensor> shift;
  double strength;
};
Tensor shifted_mse(const Compared& compared, bool per_item, cudaStream_t stream);
Tensor shifted_mse_backward(const Tensor& grad_loss, const Compared& compared, cudaStream_t stream);

}  // namespace jointtuner::kernels::cuda
