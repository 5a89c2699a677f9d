#include "glora_steps.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "gate_hidden.h"
#include "jointtuner/base/error.h"
#include "low_rank_backward.h"
#include "low_rank_update.h"

namespace jointtuner::kernels::cuda {
namespace {

/// body<T>() for the tensor's type T: float, at::Half or at::BFloat16.
template <class Body>
void for_type_of(const Tensor& tensor, const Body& body) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return body.template operator()<float>();
    case at::kHalf:
      return body.template operator()<at::Half>();
    case at::kBFloat16:
      return body.template operator()<at::BFloat16>();
    default:
      throw Error(fmt::format("glora_linear: expected float32, float16 or bfloat16 for a CUDA kernel, found {}",
                              c10::toString(tensor.scalar_type())));
  }
}

/// With factors 0 and `value` / (1 - p).
Dropout dropout_of(const DropoutMask& mask, double value) {
  constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
  const uint64_t threshold = dropout_threshold(mask.probability);
  const bool drops_all = threshold > kMost;  // p so near 1 that it rounds to 2^32
  return {mask.probability > 0, static_cast<uint32_t>(std::min(threshold, kMost)),
          drops_all ? 0.0F : static_cast<float>(value / (1 - mask.probability)), static_cast<uint32_t>(mask.site),
          static_cast<uint64_t>(mask.seed)};
}

/// In float32 whatever the adapter's type: small beside y, and one kernel less for each type.
Tensor wide(const Tensor& up) { return up.to(at::kFloat).contiguous(); }

/// The caching allocator hands it to nobody else until the launches before it on this stream are done.
Tensor work_space(int64_t elements, const Tensor& like) {
  return at::empty({elements}, like.options().dtype(at::kFloat));
}

}  // namespace

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups, cudaStream_t stream) {
  const Tensor gate = at::empty({groups}, hidden.options().dtype(at::kFloat));
  for_type_of(hidden, [&]<class T>() {
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

void gate_hidden_backward(const Tensor& gradient, const Tensor& hidden, const Tensor& logits, const Tensor& gate,
                          double scale, cudaStream_t stream) {
  for_type_of(hidden, [&]<class T>() {
    GateHiddenBackward<T> arguments{gradient.mutable_data_ptr<float>(),
                                    hidden.const_data_ptr<T>(),
                                    logits.const_data_ptr<T>(),
                                    gate.const_data_ptr<float>(),
                                    nullptr,
                                    gate.size(0),
                                    hidden.size(0) / gate.size(0),
                                    hidden.size(1),
                                    static_cast<float>(scale)};
    const Tensor partial = work_space(partials(arguments), gate);
    arguments.partial = partial.mutable_data_ptr<float>();
    gate_hidden_backward(arguments, stream);
  });
}

void low_rank_update(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, const DropoutMask& mask,
                     cudaStream_t stream) {
  const Tensor wide_up = wide(up);
  for_type_of(y, [&]<class T>() {
    low_rank_update<T>({y.mutable_data_ptr<T>(), hidden.const_data_ptr<T>(), wide_up.const_data_ptr<float>(), y.size(0),
                        hidden.size(1), y.size(1), dropout_of(mask, scale)},
                       stream);
  });
}

void low_rank_backward(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                       const Tensor& grad_up, double scale, const DropoutMask& mask, cudaStream_t stream) {
  const Tensor wide_up = wide(up);
  for_type_of(grad_y, [&]<class T>() {
    LowRankBackward<T> arguments{grad_y.const_data_ptr<T>(),
                                 hidden.const_data_ptr<T>(),
                                 wide_up.const_data_ptr<float>(),
                                 grad_hidden.mutable_data_ptr<float>(),
                                 grad_up.mutable_data_ptr<float>(),
                                 nullptr,
                                 grad_y.size(0),
                                 hidden.size(1),
                                 grad_y.size(1),
                                 grad_hidden.stride(0),
                                 static_cast<float>(scale),
                                 dropout_of(mask, 1)};
    const Tensor partial = work_space(partials(arguments), grad_up);
    arguments.partial = partial.mutable_data_ptr<float>();
    low_rank_backward(arguments, stream);
  });
}

}  // namespace jointtuner::kernels::cuda
