#include "jointtuner/adapter/gate_pooling.h"

#include <fmt/format.h>

#include "jointtuner/base/error.h"

namespace jointtuner::adapter {

std::string gate_pooling_text(GatePooling pooling) { return pooling == GatePooling::sample ? "sample" : "batch"; }

GatePooling gate_pooling_from_text(std::string_view text) {
  if (text == "sample") return GatePooling::sample;
  if (text == "batch") return GatePooling::batch;
  throw Error(fmt::format("gate pooling: expected sample or batch, found \"{}\"", text));
}

}  // namespace jointtuner::adapter
