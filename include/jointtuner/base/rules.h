// Checks the rules that tie several fields of an options struct together (field.h).
#pragma once
#include <fmt/format.h>

#include <string_view>

#include "jointtuner/base/error.h"

namespace jointtuner {

/// Throws UsageError "<where><field>: <message>" for the first rule that `options` break. `where` is what stands before
/// the field's name: "run.json: sample.".
template <class Options>
void check_rules(const Options& options, std::string_view where) {
  Options::rules(options, [&](bool holds, const char* name, std::string_view message, const auto&... values) {
    if (!holds)
      throw UsageError(fmt::format("{}{}: {}", where, name, fmt::vformat(message, fmt::make_format_args(values...))));
  });
}

}  // namespace jointtuner
