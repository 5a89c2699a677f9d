// What the gates of a forward pass were, for a run's metrics.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

namespace jointtuner::kernels {

using at::Tensor;

/// While it lives, sees the gate of every gated glora_linear that runs forward on this thread. Let it live around the
/// forward pass only: activation checkpointing runs layers again during backward. Meters nest; the innermost sees.
class GateMeter {
 public:
  GateMeter();
  ~GateMeter();
  GateMeter(const GateMeter&) = delete;
  GateMeter& operator=(const GateMeter&) = delete;

  /// Mean over all gates seen, each layer and pooling group counting once: float64 [] on their device, where nobody
  /// waits for it; undefined when there were none.
  Tensor mean() const;

  /// For glora_linear: hands a layer's gate [groups] to the innermost meter of this thread, if there is one.
  static void see(const Tensor& gate);

 private:
  std::vector<Tensor> gates_;
  GateMeter* outer_;
};

}  // namespace jointtuner::kernels
