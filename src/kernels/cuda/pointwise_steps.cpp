#include "pointwise_steps.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <limits>

#include "add_noise.h"
#include "gated_update.h"
#include "guided_step.h"
#include "shifted_mse.h"
#include "tensor_arguments.h"

namespace jointtuner::kernels::cuda {
namespace {

Tensor empty_contiguous(const Tensor& like) { return at::empty_like(like, at::MemoryFormat::Contiguous); }

/// velocity may be undefined.
void fill(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
          const NoisyAndVelocity& result, cudaStream_t stream) {
  if (latents.numel() == 0) return;
  const Tensor x = latents.contiguous(), e = noise.contiguous(), steps = timestep.contiguous(),
               table = alphas_cumprod.to(at::kFloat).contiguous();
  const int64_t items = x.size(0);
  for_type_of(x, "add_noise", [&]<class T>() {
    add_noise<T>({x.const_data_ptr<T>(), e.const_data_ptr<T>(), steps.const_data_ptr<int64_t>(),
                  table.const_data_ptr<float>(), result.noisy.mutable_data_ptr<T>(),
                  result.velocity.defined() ? result.velocity.mutable_data_ptr<T>() : nullptr, items, x.numel() / items,
                  table.numel()},
                 stream);
  });
}

/// A tensor of a step in the latents' type; undefined if it is absent.
Tensor like(const MaybeTensor& tensor, const Tensor& latents) {
  return tensor ? tensor->to(latents.scalar_type()).contiguous() : Tensor();
}

StepFactors factors_of(double guidance_scale, const StepCoefficients& c) {
  const auto f = [](double number) { return static_cast<float>(number); };
  return {f(guidance_scale),
          f(c.x0_from_latents),
          f(c.x0_from_prediction),
          f(c.x0_clip.value_or(std::numeric_limits<double>::infinity())),
          f(c.from_latents),
          f(c.from_prediction),
          f(c.from_x0),
          f(c.from_previous_x0),
          f(c.from_noise)};
}

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

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod,
                 cudaStream_t stream) {
  const Tensor noisy = empty_contiguous(latents);
  fill(latents, noise, timestep, alphas_cumprod, {noisy, Tensor()}, stream);
  return noisy;
}

NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod, cudaStream_t stream) {
  const NoisyAndVelocity result{empty_contiguous(latents), empty_contiguous(latents)};
  fill(latents, noise, timestep, alphas_cumprod, result, stream);
  return result;
}

void gated_update(const Tensor& y, const Tensor& update, const MaybeTensor& gate, double scale, const DropoutMask& mask,
                  cudaStream_t stream) {
  if (y.numel() == 0) return;
  const Tensor addend = update.contiguous(), gates = gate ? gate->contiguous() : Tensor();
  for_type_of(y, "gated_update", [&]<class T>() {
    gated_update<T>({y.mutable_data_ptr<T>(), addend.const_data_ptr<T>(), data_or_null<float>(gates), y.numel(),
                     gates.defined() ? y.numel() / gates.numel() : y.numel(), dropout_of(mask, scale)},
                    stream);
  });
}

StepResult guided_step(const Tensor& latents, const GuidedPrediction& prediction, const StepCoefficients& coefficients,
                       const MaybeTensor& previous_x0, const MaybeTensor& noise, cudaStream_t stream) {
  const Tensor x = latents.contiguous(), conditional = like(prediction.conditional, x),
               unconditional = like(prediction.unconditional, x), before = like(previous_x0, x), e = like(noise, x);
  const StepResult result{at::empty_like(x), at::empty_like(x)};
  for_type_of(x, "guided_step", [&]<class T>() {
    guided_step<T>({x.const_data_ptr<T>(), conditional.const_data_ptr<T>(), data_or_null<T>(unconditional),
                    data_or_null<T>(before), data_or_null<T>(e), result.next.mutable_data_ptr<T>(),
                    result.x0.mutable_data_ptr<T>(), x.numel(), factors_of(prediction.guidance_scale, coefficients)},
                   stream);
  });
  return result;
}

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
  const Tensor upstream = grad_loss.to(at::kFloat).contiguous(), gradient = empty_contiguous(compared.prediction);
  with_arguments(compared, [&]<class T, class V>(const ShiftedMse<T, V>& arguments) {
    shifted_mse_backward(arguments, upstream.const_data_ptr<float>(), grad_loss.dim() == 1,
                         gradient.mutable_data_ptr<T>(), stream);
  });
  return gradient;
}

}  // namespace jointtuner::kernels::cuda
