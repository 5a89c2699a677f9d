#include "jointtuner/kernels/gated_update.h"

#include <torch/library.h>

#include "../gated_update_arguments.h"

namespace jointtuner::kernels::meta {
namespace {

Tensor& gated_update(Tensor& y, const Tensor&, const std::optional<Tensor>&, double, const DropoutMask&) { return y; }

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, Meta, m) { m.impl("gated_update", gated_update_kernel<gated_update>); }

}  // namespace jointtuner::kernels::meta
