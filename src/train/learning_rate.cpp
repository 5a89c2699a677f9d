#include "learning_rate.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "jointtuner/base/error.h"
#include "jointtuner/base/rules.h"

namespace jointtuner::train {

double learning_rate(const TrainOptions& options, int64_t step) {
  check_rules(options, "train.");
  const int64_t total = options.steps;
  const int64_t warmup = options.warmup_steps;
  if (step < warmup) return options.learning_rate * static_cast<double>(step) / static_cast<double>(warmup);
  if (options.learning_rate_schedule == "constant") return options.learning_rate;
  const double falling = std::max<double>(1, static_cast<double>(total - warmup));
  if (options.learning_rate_schedule == "linear")
    return options.learning_rate * static_cast<double>(total - step) / falling;
  if (options.learning_rate_schedule == "cosine") {
    const double progress = static_cast<double>(step - warmup) / falling;
    return options.learning_rate * (1 + std::cos(std::numbers::pi * progress)) / 2;
  }
  throw UsageError(fmt::format("train.learning_rate_schedule: expected constant, linear or cosine, found '{}'",
                               options.learning_rate_schedule));
}

}  // namespace jointtuner::train
