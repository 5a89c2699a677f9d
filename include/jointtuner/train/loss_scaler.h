// Dynamic loss scaling for backbones that compute in float16 (Micikevicius et al., arXiv 1710.03740).
#pragma once
#include <cstdint>

namespace jointtuner::train {

/// The loss is multiplied by scale() before the backward pass, so that small float16 gradients do not vanish, and the
/// gradient divided by it before clipping. A gradient with an infinity or NaN halves the scale and skips the step;
/// kGrowthInterval good steps in a row double it (the rule and constants of torch.amp.GradScaler). A function of the
/// gradients alone, so that a resumed run scales alike.
class LossScaler {
 public:
  static constexpr double kInitialScale = 65536.0;
  static constexpr int64_t kGrowthInterval = 2000;
  /// Below this scale skipping does not help any more: the model itself overflows.
  static constexpr double kSmallestScale = 1.0 / 1024;

  struct State {
    double scale = 1.0;
    int64_t good_steps = 0;  ///< since the scale last changed
    bool operator==(const State&) const = default;
  };

  /// Disabled, the scale is 1 for ever and update() accepts finite gradients only.
  explicit LossScaler(bool enabled);

  bool enabled() const { return enabled_; }
  double scale() const { return state_.scale; }
  const State& state() const { return state_; }
  void restore(const State& state) { state_ = state; }

  /// Adapts the scale to the step's gradient; returns whether the step is to be taken. Throws Error when disabled and
  /// not finite, or when the scale falls below kSmallestScale.
  bool update(bool gradient_is_finite);

 private:
  bool enabled_;
  State state_;
};

}  // namespace jointtuner::train
