// `doctor`: each operator of the program on a device, against its reference in float64 on the CPU.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "jointtuner/doctor/table.h"

namespace jointtuner::doctor {

using at::Tensor;
using Tensors = std::vector<Tensor>;

/// How large the inputs are: latents [batch, channels, frames, height, width], or `tokens` tokens a sample through a
/// linear layer of in x out features with an adapter of that rank.
struct KernelSize {
  int64_t batch, channels, frames, height, width;
  int64_t tokens, in, out, rank;
};

/// An operator with inputs bound to it; a call gives its results anew.
using Bound = std::function<Tensors()>;
using Bind = std::function<Bound(const Tensors& inputs)>;

/// One operator, or one operator's backward pass (its forward pass runs when inputs are bound). `kernel` and
/// `reference` take the same inputs.
struct KernelCase {
  std::string name;
  std::function<Tensors(const KernelSize&, at::ScalarType)> inputs;  ///< on the CPU, in the dtypes that the op takes
  Bind kernel;
  Bind reference;
  std::function<double(at::ScalarType)> limit;  ///< of the largest difference, relative to the largest value
};

/// Every operator, and its backward pass where it has one of its own; glora_linear, the first, with dropout and
/// without.
std::vector<KernelCase> kernel_cases();

/// Largest difference of any result from what is expected, relative to the largest value of that result, or to 1 % of
/// the largest of all results where that is more (a gate's gradient is a sum that may cancel). NaN when a result has
/// one, infinity when a shape differs.
double largest_difference(const Tensors& found, const Tensors& expected);

/// Compares kernel and reference at a size that fits vector loads and one that fits nothing, calls the kernel twice and
/// expects the same bits, and times it: `quick` at the small size, else at one that fills the device. GB/s are the
/// bytes of inputs and results, each moved once, by the median time.
Row kernel_row(const KernelCase& kernel, at::Device device, at::ScalarType dtype, bool quick);

/// With lora_up = 0 the adapted layer must give the frozen layer's bits.
Row frozen_row(at::Device device, at::ScalarType dtype);

}  // namespace jointtuner::doctor
