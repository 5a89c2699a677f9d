// What `doctor` compares: inputs, kernel, reference and limit of every operator.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "jointtuner/base/generator.h"
#include "jointtuner/kernels/add_noise.h"
#include "jointtuner/kernels/gated_update.h"
#include "jointtuner/kernels/glora_linear.h"
#include "jointtuner/kernels/guided_step.h"
#include "jointtuner/kernels/shifted_mse.h"
#include "kernels.h"

namespace jointtuner::doctor {
namespace {

using at::ScalarType;

constexpr double kScale = 0.7, kDropout = 0.1, kStrength = 0.5;
constexpr int64_t kSeed = 0x123456789abcde, kSite = 5;

Tensor draw(at::IntArrayRef sizes, const char* name, ScalarType dtype = at::kFloat) {
  return normal_draw(sizes, generator(0, 0, name)).to(dtype);
}

Tensor latents(const KernelSize& s, const char* name, ScalarType dtype) {
  return draw({s.batch, s.channels, s.frames, s.height, s.width}, name, dtype);
}

/// The unit roundoff of a dtype: a result that is rounded once is off by no more, relative to itself.
double roundoff(ScalarType dtype) {
  return dtype == at::kHalf ? std::ldexp(1, -11) : dtype == at::kBFloat16 ? std::ldexp(1, -8) : std::ldexp(1, -24);
}

/// Few operations in float32, then one rounding.
double pointwise_limit(ScalarType dtype) { return dtype == at::kFloat ? 16 * roundoff(dtype) : 2 * roundoff(dtype); }

/// Sums over hundreds of products; in half precision rounded after each of the steps.
double product_limit(ScalarType dtype) { return dtype == at::kFloat ? 1e-5 : 8 * roundoff(dtype); }

/// A float32 number for every dtype, summed in more than float32.
double loss_limit(ScalarType) { return 16 * roundoff(at::kFloat); }

/// x, weight, bias, lora_down, lora_up, lora_gate, gradient of y. Weights as large as keeps y of x's size.
Tensors layer_inputs(const KernelSize& s, ScalarType dtype) {
  const double from_in = 1 / std::sqrt(static_cast<double>(s.in)),
               from_rank = 1 / std::sqrt(static_cast<double>(s.rank));
  return {draw({s.batch, s.tokens, s.in}, "x", dtype),
          draw({s.out, s.in}, "weight").mul(from_in).to(dtype),
          draw({s.out}, "bias", dtype),
          draw({s.rank, s.in}, "lora_down").mul(from_in),
          draw({s.out, s.rank}, "lora_up").mul(from_rank),
          draw({1, s.in}, "lora_gate").mul(from_in),
          draw({s.batch, s.tokens, s.out}, "gradient", dtype)};
}

using Linear = decltype(&kernels::glora_linear);

Tensor adapted(Linear linear, const Tensors& in, double dropout) {
  return linear(in[0], {in[1], in[2]}, {in[3], in[4], in[5]}, {kScale, in[0].size(0), {dropout, kSeed, kSite}});
}

Bind forward_of(Linear linear, double dropout) {
  return [=](const Tensors& inputs) { return [=] { return Tensors{adapted(linear, inputs, dropout)}; }; };
}

/// The gradients of x, lora_down, lora_up and lora_gate.
Bind backward_of(Linear linear, double dropout) {
  return [=](const Tensors& inputs) {
    Tensors in = inputs, leaves;
    for (const size_t i : {0, 3, 4, 5}) leaves.push_back(in[i] = inputs[i].detach().requires_grad_(true));
    const Tensor y = adapted(linear, in, dropout);
    return [=] { return torch::autograd::grad({y}, leaves, {in[6]}, /*retain_graph=*/true); };
  };
}

KernelCase linear_case(const char* name, Bind (*bind)(Linear, double), double dropout) {
  return {name, layer_inputs, bind(kernels::glora_linear, dropout), bind(kernels::reference::glora_linear, dropout),
          product_limit};
}

/// y, update, gate.
Tensors update_inputs(const KernelSize& s, ScalarType dtype) {
  return {draw({s.batch, s.tokens, s.out}, "y", dtype), draw({s.batch, s.tokens, s.out}, "update", dtype),
          draw({s.batch}, "gate").sigmoid()};
}

KernelCase update_case() {
  const kernels::DropoutMask mask{kDropout, kSeed, kSite};
  return {"gated_update, dropout", update_inputs,
          [=](const Tensors& in) {
            Tensor y = in[0].clone();
            const Tensor gate = in[2];
            return [=]() mutable { return Tensors{kernels::gated_update(y, in[1], gate, kScale, mask)}; };
          },
          [=](const Tensors& in) {
            return [=] { return Tensors{kernels::reference::gated_update(in[0], in[1], in[2], kScale, mask)}; };
          },
          pointwise_limit};
}

using Loss = decltype(&kernels::shifted_mse);

/// prediction, target, shift.
Tensors loss_inputs(const KernelSize& s, ScalarType dtype) {
  return {latents(s, "prediction", dtype), latents(s, "target", dtype),
          draw({s.batch, 1, 1, s.height, s.width}, "shift", dtype)};
}

Bind loss_of(Loss loss) {
  return [=](const Tensors& in) {
    return [=] { return Tensors{loss(in[0], in[1], in[2], kStrength, kernels::LossReduction::per_item)}; };
  };
}

/// The gradient that arrives is 1024 an item, as from a loss scaler: 2 / count alone would vanish in float16.
Bind loss_backward_of(Loss loss) {
  return [=](const Tensors& in) {
    const Tensor prediction = in[0].detach().requires_grad_(true);
    const Tensor losses = loss(prediction, in[1], in[2], kStrength, kernels::LossReduction::per_item);
    const Tensor arriving = losses.detach() * 0 + 1024;
    return [=] { return torch::autograd::grad({losses}, {prediction}, {arriving}, /*retain_graph=*/true); };
  };
}

/// latents, conditional, unconditional, previous x0, noise.
Tensors step_inputs(const KernelSize& s, ScalarType dtype) {
  return {latents(s, "latents", dtype), latents(s, "conditional", dtype), latents(s, "unconditional", dtype),
          latents(s, "previous_x0", dtype), latents(s, "noise", dtype)};
}

Bind step_of(decltype(&kernels::guided_step) step) {
  return [=](const Tensors& in) {
    return [=] {
      const kernels::StepCoefficients numbers{0.8, -0.6, 3.0, 0.4, 0.1, 0.5, -0.3, 0.2};
      const kernels::StepResult result = step(in[0], {in[1], in[2], 7.5}, numbers, in[3], in[4]);
      return Tensors{result.next, result.x0};
    };
  };
}

/// latents, noise, timestep, alphas_cumprod.
Tensors noise_inputs(const KernelSize& s, ScalarType dtype) {
  const Tensor steps = at::arange(1, 1001, at::TensorOptions().dtype(at::kFloat));
  return {latents(s, "latents", dtype), latents(s, "noise", dtype), at::arange(s.batch, at::kLong).mul(300).add(17),
          steps.mul(-0.003).exp()};
}

Bind noise_of(decltype(&kernels::add_noise) add) {
  return [=](const Tensors& in) { return [=] { return Tensors{add(in[0], in[1], in[2], in[3])}; }; };
}

Bind velocity_of(decltype(&kernels::add_noise_with_velocity) add) {
  return [=](const Tensors& in) {
    return [=] {
      const auto result = add(in[0], in[1], in[2], in[3]);
      return Tensors{result.noisy, result.velocity};
    };
  };
}

}  // namespace

std::vector<KernelCase> kernel_cases() {
  namespace reference = kernels::reference;
  return {linear_case("glora_linear", forward_of, 0),
          linear_case("glora_linear, dropout", forward_of, kDropout),
          linear_case("glora_linear backward", backward_of, 0),
          linear_case("glora_linear backward, dropout", backward_of, kDropout),
          update_case(),
          {"shifted_mse", loss_inputs, loss_of(kernels::shifted_mse), loss_of(reference::shifted_mse), loss_limit},
          {"shifted_mse backward", loss_inputs, loss_backward_of(kernels::shifted_mse),
           loss_backward_of(reference::shifted_mse), pointwise_limit},
          {"guided_step", step_inputs, step_of(kernels::guided_step), step_of(reference::guided_step), pointwise_limit},
          {"add_noise", noise_inputs, noise_of(kernels::add_noise), noise_of(reference::add_noise), pointwise_limit},
          {"add_noise_with_velocity", noise_inputs, velocity_of(kernels::add_noise_with_velocity),
           velocity_of(reference::add_noise_with_velocity), pointwise_limit}};
}

}  // namespace jointtuner::doctor
