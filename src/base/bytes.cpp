#include "jointtuner/base/bytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <utility>

#include "jointtuner/base/error.h"

namespace jointtuner {

int64_t parse_bytes(std::string_view text, std::string_view where) {
  constexpr double kMost = 9007199254740992.0;
  static constexpr std::array<std::pair<std::string_view, double>, 9> kUnits{{{"b", 1},
                                                                              {"kib", 0x1p10},
                                                                              {"mib", 0x1p20},
                                                                              {"gib", 0x1p30},
                                                                              {"tib", 0x1p40},
                                                                              {"kb", 1e3},
                                                                              {"mb", 1e6},
                                                                              {"gb", 1e9},
                                                                              {"tb", 1e12}}};
  double number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(end, text.data() + text.size());
  unit.erase(0, std::min(unit.find_first_not_of(' '), unit.size()));
  std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto known = std::find_if(kUnits.begin(), kUnits.end(), [&](const auto& one) { return one.first == unit; });
  const double bytes = known == kUnits.end() || code != std::errc() ? 0 : number * known->second;
  if (!(bytes >= 1 && bytes <= kMost))
    throw UsageError(
        fmt::format("{}: expected an amount of memory such as 24GiB, 24GB or 24000MiB, found \"{}\"", where, text));
  return std::llround(bytes);
}

std::string bytes_text(int64_t bytes) {
  const auto amount = static_cast<double>(bytes);
  if (bytes >= 1 << 30) return fmt::format("{:.2f} GiB", amount / 0x1p30);
  if (bytes >= 1 << 20) return fmt::format("{:.2f} MiB", amount / 0x1p20);
  return fmt::format("{:.2f} KiB", amount / 0x1p10);
}

}  // namespace jointtuner
