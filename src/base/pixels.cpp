#include "jointtuner/base/pixels.h"

#include <ATen/TensorOperators.h>

#include "jointtuner/base/shape.h"

namespace jointtuner {

at::Tensor to_pixels(const at::Tensor& frames) {
  check_shape(frames, {-1, -1, -1, 3}, "to_pixels");
  return frames.permute({0, 3, 1, 2}).contiguous().to(at::kFloat).div_(127.5).sub_(1);
}

at::Tensor to_bytes(const at::Tensor& pixels) {
  check_shape(pixels, {-1, 3, -1, -1}, "to_bytes");
  return pixels.mul(0.5).add_(0.5).clamp_(0, 1).mul_(255).round_().to(at::kByte).permute({0, 2, 3, 1});
}

}  // namespace jointtuner
