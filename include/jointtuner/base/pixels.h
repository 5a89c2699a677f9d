// Between the bytes of pictures and the values of models.
#pragma once
#include <ATen/core/Tensor.h>

namespace jointtuner {

/// frames uint8 [F,H,W,3] -> fp32 [F,3,H,W] in [-1,1]: v / 127.5 - 1.
at::Tensor to_pixels(const at::Tensor& frames);

/// pixels [n,3,H,W] of a floating dtype -> uint8 [n,H,W,3] on the same device: round(255 * clamp((v + 1) / 2, 0, 1)).
/// The result need not be contiguous.
at::Tensor to_bytes(const at::Tensor& pixels);

}  // namespace jointtuner
