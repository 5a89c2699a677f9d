#include "glora_steps.h"

#include <ATen/ops/empty.h>

#include "gate_hidden.h"
#include "low_rank_backward.h"
#include "low_rank_update.h"
#include "tensor_arguments.h"

namespace jointtuner::kernels::cuda {
namespace {

/// In float32 whatever the adapter's type: small beside y, and one kernel less for each type.
Tensor wide(const Tensor& up) { return up.to(at::kFloat).contiguous(); }

/// The caching allocator hands it to nobody else until the launches before it on this stream are done.
Tensor work_space(int64_t elements, const Tensor& like) {
  return at::empty({elements}, like.options().dtype(at::kFloat));
}

}  // namespace

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups, cudaStream_t stream) {
  const Tensor gate = at::empty({groups}, hidden.options().dtype(at::kFloat));
  for_type_of(hidden, "gate_hidden", [&]<class T>() {
    GateHidden<T> arguments{hidden.mutable_data_ptr<T>(),
                            logits.const_data_ptr<T>(),
                            gate.mutable_data_ptr<float>(),
                            nullptr,
                            groups,
                            hidden.size(0) / groups,
                            hidden.size(1)};
    const Tensor partial = work_space(partials(arguments), gate);
    arguments.partial = partial.mutable_data_ptr<float>();
    gate_hidden(arguments, stream);
  });
  return gate;
}

void gate_hidden_backward(const parts::GateHiddenBackward& step, cudaStream_t stream) {
  for_type_of(step.hidden, "gate_hidden_backward", [&]<class T>() {
    GateHiddenBackward<T> arguments{step.gradient.mutable_data_ptr<float>(),
                                    step.hidden.const_data_ptr<T>(),
                                    step.logits.const_data_ptr<T>(),
                                    step.gate.const_data_ptr<float>(),
                                    nullptr,
                                    step.gate.size(0),
                                    step.hidden.size(0) / step.gate.size(0),
                                    step.hidden.size(1),
                                    static_cast<float>(step.scale)};
    const Tensor partial = work_space(partials(arguments), step.gate);
    arguments.partial = partial.mutable_data_ptr<float>();
    gate_hidden_backward(arguments, stream);
  });
}

void low_rank_update(const parts::LowRankUpdate& step, cudaStream_t stream) {
  const Tensor wide_up = wide(step.up);
  for_type_of(step.y, "low_rank_update", [&]<class T>() {
    low_rank_update<T>({step.y.mutable_data_ptr<T>(), step.hidden.const_data_ptr<T>(), wide_up.const_data_ptr<float>(),
                        step.y.size(0), step.hidden.size(1), step.y.size(1), dropout_of(step.mask, step.scale)},
                       stream);
  });
}

void low_rank_backward(const parts::LowRankBackward& step, cudaStream_t stream) {
  const Tensor wide_up = wide(step.up);
  for_type_of(step.grad_y, "low_rank_backward", [&]<class T>() {
    LowRankBackward<T> arguments{step.grad_y.const_data_ptr<T>(),
                                 step.hidden.const_data_ptr<T>(),
                                 wide_up.const_data_ptr<float>(),
                                 step.grad_hidden.mutable_data_ptr<float>(),
                                 step.grad_up.mutable_data_ptr<float>(),
                                 nullptr,
                                 step.grad_y.size(0),
                                 step.hidden.size(1),
                                 step.grad_y.size(1),
                                 step.grad_hidden.stride(0),
                                 static_cast<float>(step.scale),
                                 dropout_of(step.mask, 1)};
    const Tensor partial = work_space(partials(arguments), step.grad_up);
    arguments.partial = partial.mutable_data_ptr<float>();
    low_rank_backward(arguments, stream);
  });
}

}  // namespace jointtuner::kernels::cuda
