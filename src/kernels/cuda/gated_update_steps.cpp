#include "gated_update_steps.h"

#include "gated_update.h"
#include "tensor_arguments.h"

namespace jointtuner::kernels::cuda {

void gated_update(const Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                  const DropoutMask& mask, cudaStream_t stream) {
  if (y.numel() == 0) return;
  const Tensor addend = update.contiguous(), gates = gate ? gate->contiguous() : Tensor();
  for_type_of(y, "gated_update", [&]<class T>() {
    gated_update<T>({y.mutable_data_ptr<T>(), addend.const_data_ptr<T>(), data_or_null<float>(gates), y.numel(),
                     gates.defined() ? y.numel() / gates.numel() : y.numel(), dropout_of(mask, scale)},
                    stream);
  });
}

}  // namespace jointtuner::kernels::cuda
