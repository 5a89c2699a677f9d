#include "jointtuner/train/loss_scaler.h"

#include <fmt/format.h>

#include "jointtuner/base/error.h"

namespace jointtuner::train {

LossScaler::LossScaler(bool enabled) : enabled_(enabled), state_{enabled ? kInitialScale : 1.0, 0} {}

bool LossScaler::update(bool gradient_is_finite) {
  if (!enabled_) return gradient_is_finite;
  if (!gradient_is_finite) {
    state_ = {state_.scale / 2, 0};
    if (state_.scale < kSmallestScale)
      throw Error(fmt::format(
          "the gradient is not finite even with the loss scaled by {}: the float16 backbone itself overflows. Lower "
          "train.learning_rate, clip with train.gradient_clip, or export the backbone as fp32 or bf16",
          2 * state_.scale));
    return false;
  }
  if (++state_.good_steps == kGrowthInterval) state_ = {state_.scale * 2, 0};
  return true;
}

}  // namespace jointtuner::train
