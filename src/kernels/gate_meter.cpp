#include "jointtuner/kernels/gate_meter.h"

#include <ATen/ops/cat.h>

namespace jointtuner::kernels {
namespace {

thread_local GateMeter* innermost = nullptr;

}  // namespace

GateMeter::GateMeter() : outer_(innermost) { innermost = this; }

GateMeter::~GateMeter() { innermost = outer_; }

std::optional<double> GateMeter::mean() const {
  if (gates_.empty()) return std::nullopt;
  return at::cat(gates_).to(at::kDouble).mean().item<double>();
}

void GateMeter::see(const Tensor& gate) {
  if (innermost) innermost->gates_.push_back(gate.detach());
}

}  // namespace jointtuner::kernels
