// `doctor`: small training runs, compared with what they must give.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>
#include <vector>

#include "jointtuner/doctor/table.h"
#include "jointtuner/kernels/add_noise.h"
#include "jointtuner/kernels/glora_linear.h"
#include "jointtuner/kernels/shifted_mse.h"

namespace jointtuner::doctor {

/// The operators that a run trains with.
struct TrainingOps {
  decltype(&kernels::glora_linear) linear = kernels::glora_linear;
  decltype(&kernels::add_noise) add_noise = kernels::add_noise;
  decltype(&kernels::shifted_mse) loss = kernels::shifted_mse;
};

/// The kernels' references.
TrainingOps reference_ops();

/// Losses of `steps` steps of a problem made in memory: two adapted layers over the channels of latents of a clip and a
/// picture, noise to be predicted, AiT loss and plain loss, dropout, AdamW. The frozen weights are rounded to `weights`
/// and the layers run in `activations` (a run in float64 with the same weights is what the others are compared with).
std::vector<double> training_losses(const TrainingOps& ops, at::Device device, at::ScalarType weights,
                                    at::ScalarType activations, int64_t steps);

/// The run on `device` in `dtype` against the CPU's with the references in float64: losses equal within the limit, and
/// the last below the first.
Row training_row(const TrainingOps& ops, at::Device device, at::ScalarType dtype, bool quick);

/// Three steps of the bundle's own denoiser, at a small size: with checkpoint segments against without on the CPU (bit
/// for bit), and every further device against the CPU.
std::vector<Row> bundle_rows(const std::string& bundle, at::Device device);

}  // namespace jointtuner::doctor
