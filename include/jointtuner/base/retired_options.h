// Options of configs that are gone. A run's folder keeps the config that it was trained with, so they are still met.
#pragma once
#include <string_view>

namespace jointtuner {

struct RetiredOption {
  std::string_view option;   ///< "loss.static_weight"
  std::string_view choice;   ///< "" when the option is gone; else it is there, and this choice of it is gone
  std::string_view neutral;  ///< value (JSON) with which an option changed nothing, and is passed over
  std::string_view advice;   ///< for any other value: why it went, what to do
};

/// The option, or the choice, of that name; null for what was never one, or is one.
const RetiredOption* retired_option(std::string_view option);
const RetiredOption* retired_choice(std::string_view option, std::string_view value);

}  // namespace jointtuner
