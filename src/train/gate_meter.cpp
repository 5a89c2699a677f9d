#include "jointtuner/train/gate_meter.h"

#include <ATen/ops/cat.h>

#include <string_view>

#include "jointtuner/base/error.h"

namespace jointtuner::train {

thread_local GateMeter* GateMeter::current_ = nullptr;

void GateMeter::keep(const at::RecordFunction& call, at::ObserverContext*) {
  constexpr std::string_view kGateStep = "jointtuner::_gate_hidden";
  if (call.name() == kGateStep) {
    current_->gates_.push_back(call.outputs().at(0).toTensor());
  }
}

GateMeter::GateMeter() {
  if (current_ != nullptr) {
    throw Error("GateMeter: another one is active on this thread");
  }
  current_ = this;
  auto callback = at::RecordFunctionCallback(nullptr, &GateMeter::keep);
  callback.needsOutputs(true).scopes({at::RecordScope::FUNCTION});
  handle_ = at::addThreadLocalCallback(callback);
}

GateMeter::~GateMeter() {
  at::removeCallback(handle_);
  current_ = nullptr;
}

std::optional<double> GateMeter::mean() const {
  if (gates_.empty()) {
    return std::nullopt;
  }
  return at::cat(gates_).mean().item().toDouble();
}

}  // namespace jointtuner::train
