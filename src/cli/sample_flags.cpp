#include "sample_flags.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <type_traits>

#include "jointtuner/sample/options.h"
#include "json_text.h"

namespace jointtuner::cli {
namespace {

std::string flag_of(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

const char* kind_of(bool text, bool whole) { return text ? "TEXT" : whole ? "N" : "X"; }

}  // namespace

void add_sample_flags(CLI::App& command, std::vector<std::string>& overrides, const std::vector<std::string>& only) {
  sample::SampleOptions defaults;
  sample::SampleOptions::fields(
      defaults, [&](const std::string& name, auto& member, const std::string& meaning, const auto&...) {
        using Member = std::remove_reference_t<decltype(member)>;
        constexpr bool kText = std::is_same_v<Member, std::string>;
        if constexpr (kText || std::is_arithmetic_v<Member>) {
          if (!only.empty() && std::find(only.begin(), only.end(), name) == only.end()) return;
          const auto take = [name, &overrides](const std::string& value) {
            overrides.push_back(fmt::format("sample.{}={}", name, kText ? json_text(flag_of(name), value) : value));
          };
          command.add_option_function<std::string>(flag_of(name), take, meaning)
              ->option_text(kind_of(kText, std::is_integral_v<Member>));
        }
      });
}

}  // namespace jointtuner::cli
