#include "shifted_mse_steps.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "shifted_mse.h"
#include "tensor_arguments.h"

namespace jointtuner::kernels::cuda {
namespace {

/// Calls body(arguments) with the ShiftedMse of the tensors' types. A target of another type than the prediction's is
/// read in float32.
template <class Body>
void with_arguments(const Compared& compared, const Body& body) {
  const Tensor prediction = compared.prediction.contiguous();
  const bool same = compared.target.scalar_type() == prediction.scalar_type();
  const Tensor target = (same ? compared.target : compared.target.to(at::kFloat)).contiguous();
  const Tensor shift = compared.shift ? compared.shift->to(at::kFloat).contiguous() : Tensor();
  const int64_t items = prediction.size(0);
  for_type_of(prediction, "shifted_mse", [&]<class T>() {
    const auto call = [&]<class V>() {
      body(ShiftedMse<T, V>{prediction.const_data_ptr<T>(), target.const_data_ptr<V>(), data_or_null<float>(shift),
                            static_cast<float>(compared.strength), items, prediction.numel() / items,
                            prediction.size(3) * prediction.size(4)});
    };
    if (same)
      call.template operator()<T>();
    else
      call.template operator()<float>();
  });
}

}  // namespace

Tensor shifted_mse(const Compared& compared, bool per_item, cudaStream_t stream) {
  const auto options = compared.prediction.options().dtype(at::kFloat);
  Tensor loss;
  with_arguments(compared, [&](const auto& arguments) {
    loss = per_item ? at::empty({arguments.items}, options) : at::empty({}, options);
    const Tensor sums =
        at::empty({shifted_mse_partial_sums(arguments.items, arguments.per_item)}, options.dtype(at::kDouble));
    shifted_mse(arguments, sums.mutable_data_ptr<double>(), loss.mutable_data_ptr<float>(), per_item, stream);
  });
  return loss;
}

Tensor shifted_mse_backward(const Tensor& grad_loss, const Compared& compared, cudaStream_t stream) {
  const Tensor upstream = grad_loss.to(at::kFloat).contiguous(),
               gradient = at::empty_like(compared.prediction, at::MemoryFormat::Contiguous);
  with_arguments(compared, [&]<class T, class V>(const ShiftedMse<T, V>& arguments) {
    shifted_mse_backward(arguments, upstream.const_data_ptr<float>(), grad_loss.dim() == 1,
                         gradient.mutable_data_ptr<T>(), stream);
  });
  return gradient;
}

}  // namespace jointtuner::kernels::cuda
