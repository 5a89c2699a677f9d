// Which tokens share one gate: all tokens of a sample (the default: a result never depends on what else is in the
// batch) or of the whole batch (as the published code does).
#pragma once
#include <string>
#include <string_view>

namespace jointtuner::adapter {

enum class GatePooling { sample, batch };

/// "sample" or "batch".
std::string gate_pooling_text(GatePooling pooling);

/// The pooling of that name; anything else is an Error naming what was found and what is allowed.
GatePooling gate_pooling_from_text(std::string_view text);

}  // namespace jointtuner::adapter
