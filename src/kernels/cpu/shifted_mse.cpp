#include "jointtuner/kernels/shifted_mse.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <vector>

#include "../accumulation.h"

namespace jointtuner::kernels::cpu {
namespace {

/// The operands as planes [B * C * F] of H * W elements, with the shift's plane of each item.
template <class T>
struct Planes {
  using U = accumulation_t<T>;

  Tensor prediction, target, shift;
  double strength;
  int64_t count, per_item, size;

  Planes(const Tensor& predicted, const Tensor& wanted, const std::optional<Tensor>& shifted, double by)
      : prediction(predicted.contiguous()),
        target(wanted.to(predicted.scalar_type()).contiguous()),
        shift(shifted ? shifted->to(accumulation_dtype(predicted)).contiguous() : Tensor()),
        strength(by),
        count(predicted.size(0) * predicted.size(1) * predicted.size(2)),
        per_item(predicted.size(1) * predicted.size(2)),
        size(predicted.size(3) * predicted.size(4)) {}

  /// Calls body(element of the plane, residual) for all elements of a plane.
  template <class Body>
  void residuals(int64_t plane, const Body& body) const {
    const T* p = prediction.const_data_ptr<T>() + plane * size;
    const T* t = target.const_data_ptr<T>() + plane * size;
    const U* s = shift.defined() ? shift.const_data_ptr<U>() + plane / per_item * size : nullptr;
    const auto by = static_cast<U>(strength);
    if (s)
      for (int64_t i = 0; i < size; ++i) body(i, static_cast<U>(p[i]) - static_cast<U>(t[i]) + by * s[i]);
    else
      for (int64_t i = 0; i < size; ++i) body(i, static_cast<U>(p[i]) - static_cast<U>(t[i]));
  }
};

int64_t planes_per_task(int64_t size) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, size)); }

template <class T>
Tensor loss_typed(const Planes<T>& planes, bool per_item) {
  using U = accumulation_t<T>;
  std::vector<double> sums(static_cast<size_t>(planes.count));
  at::parallel_for(0, planes.count, planes_per_task(planes.size), [&](int64_t first, int64_t last) {
    for (int64_t plane = first; plane < last; ++plane) {
      double sum = 0;
      planes.residuals(plane, [&](int64_t, U residual) { sum += static_cast<double>(residual * residual); });
      sums[static_cast<size_t>(plane)] = sum;
    }
  });
  const int64_t items = planes.count / planes.per_item;
  const auto options = planes.prediction.options().dtype(accumulation_dtype(planes.prediction));
  const Tensor loss = per_item ? at::empty({items}, options) : at::empty({}, options);
  U* out = loss.mutable_data_ptr<U>();
  double total = 0;
  for (int64_t item = 0; item < items; ++item) {
    double sum = 0;
    for (int64_t plane = item * planes.per_item; plane < (item + 1) * planes.per_item; ++plane)
      sum += sums[static_cast<size_t>(plane)];
    if (per_item) out[item] = static_cast<U>(sum / static_cast<double>(planes.per_item * planes.size));
    total += sum;
  }
  if (!per_item) out[0] = static_cast<U>(total / static_cast<double>(planes.count * planes.size));
  return loss;
}

template <class T>
Tensor backward_typed(const Planes<T>& planes, const Tensor& grad_loss) {
  using U = accumulation_t<T>;
  const Tensor upstream = grad_loss.to(accumulation_dtype(planes.prediction)).contiguous();
  const U* from_above = upstream.const_data_ptr<U>();
  const bool per_item = grad_loss.dim() == 1;
  const double averaged = static_cast<double>((per_item ? planes.per_item : planes.count) * planes.size);
  const Tensor gradient = at::empty_like(planes.prediction);
  T* out = gradient.mutable_data_ptr<T>();
  at::parallel_for(0, planes.count, planes_per_task(planes.size), [&](int64_t first, int64_t last) {
    for (int64_t plane = first; plane < last; ++plane) {
      const U factor = static_cast<U>(2 / averaged) * from_above[per_item ? plane / planes.per_item : 0];
      T* row = out + plane * planes.size;
      planes.residuals(plane, [&](int64_t i, U residual) { row[i] = static_cast<T>(residual * factor); });
    }
  });
  return gradient;
}

Tensor loss(const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift, double strength,
            bool per_item) {
  return AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, prediction.scalar_type(), "shifted_mse", [&] {
    return loss_typed(Planes<scalar_t>(prediction, target, shift, strength), per_item);
  });
}

Tensor backward(const Tensor& grad_loss, const Tensor& prediction, const Tensor& target,
                const std::optional<Tensor>& shift, double strength) {
  return AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, prediction.scalar_type(), "shifted_mse_backward",
      [&] { return backward_typed(Planes<scalar_t>(prediction, target, shift, strength), grad_loss); });
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CPU, m) {
  m.impl("shifted_mse", loss);
  m.impl("_shifted_mse_backward", backward);
}

}  // namespace jointtuner::kernels::cpu
