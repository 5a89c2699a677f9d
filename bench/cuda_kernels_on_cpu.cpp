#include "cuda_kernels_on_cpu.h"

#include "src/kernels/cuda/add_noise_steps.h"
#include "src/kernels/cuda/gated_update_steps.h"
#include "src/kernels/cuda/glora_steps.h"
#include "src/kernels/cuda/guided_step_steps.h"
#include "src/kernels/cuda/on_cpu/cuda_on_cpu.h"
#include "src/kernels/cuda/shifted_mse_steps.h"
#include "src/kernels/gated_update_arguments.h"
#include "src/kernels/guided_step_arguments.h"

namespace jointtuner::bench {
namespace {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;
namespace cuda = kernels::cuda;
namespace parts = kernels::parts;
namespace composed = kernels::composed;

constexpr cudaStream_t kStream = nullptr;

Tensor add_noise(const Tensor& latents, const Tensor& noise, const Tensor& timestep, const Tensor& table) {
  return cuda::add_noise(latents, noise, timestep, table, kStream);
}

std::tuple<Tensor, Tensor> add_noise_with_velocity(const Tensor& latents, const Tensor& noise, const Tensor& timestep,
                                                   const Tensor& table) {
  const auto result = cuda::add_noise_with_velocity(latents, noise, timestep, table, kStream);
  return {result.noisy, result.velocity};
}

Tensor& gated_update(Tensor& y, const Tensor& update, const MaybeTensor& gate, double scale,
                     const kernels::DropoutMask& mask) {
  cuda::gated_update(y, update, gate, scale, mask, kStream);
  return y;
}

kernels::StepResult guided_step(const Tensor& latents, const kernels::GuidedPrediction& prediction,
                                const kernels::StepCoefficients& coefficients, const MaybeTensor& previous_x0,
                                const MaybeTensor& noise) {
  return cuda::guided_step(latents, prediction, coefficients, previous_x0, noise, kStream);
}

Tensor shifted_mse(const Tensor& prediction, const Tensor& target, const MaybeTensor& shift, double strength,
                   bool per_item) {
  return cuda::shifted_mse({prediction, target, shift, strength}, per_item, kStream);
}

Tensor shifted_mse_backward(const Tensor& grad_loss, const Tensor& prediction, const Tensor& target,
                            const MaybeTensor& shift, double strength) {
  return cuda::shifted_mse_backward(grad_loss, {prediction, target, shift, strength}, kStream);
}

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  return cuda::gate_hidden(hidden, logits, groups, kStream);
}

void gate_hidden_backward(const parts::GateHiddenBackward& step) { cuda::gate_hidden_backward(step, kStream); }

void low_rank_update(const parts::LowRankUpdate& step) {
  if (step.mask.probability == 0) return composed::low_rank_update(step);
  cuda::low_rank_update(step, kStream);
}

void low_rank_backward(const parts::LowRankBackward& step) {
  if (step.mask.probability == 0) return composed::low_rank_backward(step);
  cuda::low_rank_backward(step, kStream);
}

}  // namespace

CudaKernelsOnCpu::CudaKernelsOnCpu()
    : library_(torch::Library::IMPL, "jointtuner", c10::DispatchKey::CPU, __FILE__, __LINE__) {
  library_.impl("add_noise", add_noise);
  library_.impl("add_noise_with_velocity", add_noise_with_velocity);
  library_.impl("gated_update", kernels::gated_update_kernel<gated_update>);
  library_.impl("guided_step", kernels::guided_step_kernel<guided_step>);
  library_.impl("shifted_mse", shifted_mse);
  library_.impl("_shifted_mse_backward", shifted_mse_backward);
  library_.impl("_gate_hidden", gate_hidden);
  library_.impl("_gate_hidden_backward", parts::gate_hidden_backward_kernel<gate_hidden_backward>);
  library_.impl("_low_rank_update", parts::low_rank_update_kernel<low_rank_update>);
  library_.impl("_low_rank_backward", parts::low_rank_backward_kernel<low_rank_backward>);
}

Moved moved_by_cuda_kernels() {
  const Moved moved{static_cast<int64_t>(cuda_on_cpu::bytes_read()),
                    static_cast<int64_t>(cuda_on_cpu::bytes_written())};
  cuda_on_cpu::reset_counters();
  return moved;
}

}  // namespace jointtuner::bench
