// The mean gate of the adapters in a forward pass, as the adapters' operator computed it: nothing is computed twice.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <optional>
#include <vector>

namespace jointtuner::train {

/// While it lives it keeps the gates g [groups] that every jointtuner::glora_linear run by this thread computes (it
/// listens to the results of the operator's inner step jointtuner::_gate_hidden). One meter a thread at a time.
class GateMeter {
 public:
  GateMeter();
  ~GateMeter();
  GateMeter(const GateMeter&) = delete;
  GateMeter& operator=(const GateMeter&) = delete;

  /// Mean over all gates seen; empty when there were none (plain LoRA, or scale 0).
  std::optional<double> mean() const;

 private:
  static void keep(const at::RecordFunction& call, at::ObserverContext*);
  static thread_local GateMeter* current_;
  std::vector<at::Tensor> gates_;
  at::CallbackHandle handle_;
};

}  // namespace jointtuner::train
