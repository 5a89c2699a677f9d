// The operator's flat argument list, gathered into gated_update.h's in one place.
#pragma once
#include "jointtuner/kernels/gated_update.h"

namespace jointtuner::kernels {

/// A kernel with the operator's signature that calls `run` in place of it.
template <decltype(gated_update) run>
Tensor& gated_update_kernel(Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                            double dropout, int64_t dropout_seed, int64_t site) {
  return run(y, update, gate, scale, {dropout, dropout_seed, site});
}

}  // namespace jointtuner::kernels
