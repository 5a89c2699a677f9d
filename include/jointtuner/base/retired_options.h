// Options of configs that are gone. A run's folder keeps the config that it was trained with, so they are still met.
#pragma once
#include <string_view>

namespace jointtuner {

struct RetiredOption {
  std::string_view option;   ///< "loss.static_weight", or one choice of an option: "loss.video=static_weighted"
  std::string_view neutral;  ///< value (JSON) with which it changed nothing, and is passed over; "" for a choice
  std::string_view advice;   ///< for any other value: why it went, what to do
};

/// Null for what was never an option, or is one.
const RetiredOption* retired_option(std::string_view option);

}  // namespace jointtuner
