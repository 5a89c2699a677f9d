#include "jointtuner/kernels/add_noise.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <tuple>

#include "handle.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::kernels {
namespace {

[[noreturn]] void fail(const std::string& text) { throw Error("add_noise: " + text); }

void check(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod) {
  if (latents.dim() < 1 || !latents.is_floating_point() || latents.sizes() != noise.sizes() ||
      latents.scalar_type() != noise.scalar_type()) {
    fail(fmt::format("expected latents and noise of one floating dtype and shape [B, ...], found {} {} and {} {}",
                     c10::toString(latents.scalar_type()), shape_text(latents.sizes()),
                     c10::toString(noise.scalar_type()), shape_text(noise.sizes())));
  }
  check_shape(timestep, {latents.size(0)}, "add_noise: timestep");
  if (timestep.scalar_type() != at::kLong)
    fail(fmt::format("expected int64 timesteps, found {}", c10::toString(timestep.scalar_type())));
  if (alphas_cumprod.dim() != 1 ||
      (alphas_cumprod.scalar_type() != at::kFloat && alphas_cumprod.scalar_type() != at::kDouble)) {
    fail(fmt::format("expected alphas_cumprod [T] in float32 or float64, found {} {}",
                     c10::toString(alphas_cumprod.scalar_type()), shape_text(alphas_cumprod.sizes())));
  }
  for (const Tensor& tensor : {noise, timestep, alphas_cumprod})
    if (tensor.device() != latents.device())
      fail(fmt::format("expected all tensors on latents' device {}, found one on {}", latents.device().str(),
                       tensor.device().str()));
  if (!timestep.is_cpu()) return;  // elsewhere the gather itself refuses it, without a synchronisation here
  for (int64_t i = 0; i < timestep.size(0); ++i) {
    const int64_t t = timestep.const_data_ptr<int64_t>()[i * timestep.stride(0)];
    if (t < 0 || t >= alphas_cumprod.size(0))
      fail(fmt::format("timestep {} of item {} is outside the schedule's 0 .. {}", t, i, alphas_cumprod.size(0) - 1));
  }
}

bool record(const Tensor& latents, const Tensor& noise) {
  return at::GradMode::is_enabled() && (latents.requires_grad() || noise.requires_grad());
}

Tensor with_autograd(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod) {
  check(latents, noise, timestep, alphas_cumprod);
  if (record(latents, noise)) return reference::add_noise(latents, noise, timestep, alphas_cumprod);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return add_noise(latents, noise, timestep, alphas_cumprod);
}

std::tuple<Tensor, Tensor> pair_with_autograd(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                              const Tensor& alphas_cumprod) {
  check(latents, noise, timestep, alphas_cumprod);
  NoisyAndVelocity result;
  if (record(latents, noise)) {
    result = reference::add_noise_with_velocity(latents, noise, timestep, alphas_cumprod);
  } else {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    result = add_noise_with_velocity(latents, noise, timestep, alphas_cumprod);
  }
  return {result.noisy, result.velocity};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def("add_noise(Tensor latents, Tensor noise, Tensor timestep, Tensor alphas_cumprod) -> Tensor");
  m.def(
      "add_noise_with_velocity(Tensor latents, Tensor noise, Tensor timestep, Tensor alphas_cumprod) "
      "-> (Tensor noisy, Tensor velocity)");
}
TORCH_LIBRARY_IMPL(jointtuner, Autograd, m) {
  m.impl("add_noise", with_autograd);
  m.impl("add_noise_with_velocity", pair_with_autograd);
}

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& alphas_cumprod) {
  static const auto op = handle<decltype(with_autograd)>("jointtuner::add_noise");
  return op.call(latents, noise, timestep, alphas_cumprod);
}

NoisyAndVelocity add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                         const Tensor& alphas_cumprod) {
  static const auto op = handle<decltype(pair_with_autograd)>("jointtuner::add_noise_with_velocity");
  auto [noisy, velocity] = op.call(latents, noise, timestep, alphas_cumprod);
  return {noisy, velocity};
}

}  // namespace jointtuner::kernels
