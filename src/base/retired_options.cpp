#include "jointtuner/base/retired_options.h"

#include <algorithm>
#include <iterator>

namespace jointtuner {
namespace {

constexpr std::string_view kNoStaticWeight =
    "the loss static_weighted showed no gain over ait and was removed; train with ait";

constexpr RetiredOption kRetired[] = {
    {"loss.static_weight", "", "0", kNoStaticWeight},
    {"loss.video", "static_weighted", "", kNoStaticWeight},
};

}  // namespace

const RetiredOption* retired_option(std::string_view option) { return retired_choice(option, ""); }

const RetiredOption* retired_choice(std::string_view option, std::string_view value) {
  const auto* found = std::find_if(std::begin(kRetired), std::end(kRetired), [&](const RetiredOption& retired) {
    return retired.option == option && retired.choice == value;
  });
  return found == std::end(kRetired) ? nullptr : found;
}

}  // namespace jointtuner
