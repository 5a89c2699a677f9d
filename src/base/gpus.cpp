#include "jointtuner/base/gpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace jointtuner {
namespace {

struct Architecture {
  int64_t number = 0;
  bool machine_code = true, ptx = true, alone = false;  ///< alone: no other capability
};

Architecture parsed(std::string_view text) {
  Architecture found;
  const char* end = text.data() + text.size();
  const char* rest = std::from_chars(text.data(), end, found.number).ptr;
  found.alone = rest != end && *rest != '-';
  found.machine_code = !text.ends_with("-virtual");
  found.ptx = !text.ends_with("-real");
  return found;
}

}  // namespace

std::string code_for_capability(std::string_view architectures, int64_t capability) {
  int64_t machine_code = 0, ptx = 0;
  while (!architectures.empty()) {
    const size_t length = architectures.find(',');
    const Architecture one = parsed(architectures.substr(0, length));
    architectures.remove_prefix(length == std::string_view::npos ? architectures.size() : length + 1);
    if (one.number > capability || (one.alone && one.number != capability)) continue;
    if (one.machine_code && one.number / 10 == capability / 10) machine_code = std::max(machine_code, one.number);
    if (one.ptx) ptx = std::max(ptx, one.number);
  }
  if (machine_code > 0) return fmt::format("sm_{}", machine_code);
  return ptx > 0 ? fmt::format("compute_{}", ptx) : "";
}

}  // namespace jointtuner
