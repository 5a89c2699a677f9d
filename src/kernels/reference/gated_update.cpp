#include "jointtuner/kernels/gated_update.h"

#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include "../accumulation.h"
#include "../gated_update_arguments.h"

namespace jointtuner::kernels::reference {

Tensor gated_update(const Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                    const DropoutMask& mask) {
  const auto dtype = accumulation_dtype(y);
  Tensor addend = update.to(dtype);
  if (mask.probability > 0) addend = addend * dropout_factors(addend, mask);
  if (gate) {
    const Tensor grouped = addend.reshape({gate->size(0), -1}) * gate->unsqueeze(1);
    addend = grouped.reshape(y.sizes());
  }
  return (y.to(dtype) + addend * scale).to(y.scalar_type());
}

namespace {

Tensor& in_place(Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                 const DropoutMask& mask) {
  return y.copy_(gated_update(y, update, gate, scale, mask));
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CompositeExplicitAutograd, m) { m.impl("gated_update", gated_update_kernel<in_place>); }

}  // namespace jointtuner::kernels::reference
