// The learning rate of each optimiser step. Private to train.
#pragma once
#include <cstdint>

#include "jointtuner/train/options.h"

namespace jointtuner::train {

/// Learning rate of optimiser step `step` (0-based) of a run of T = train.steps with W = train.warmup_steps:
///
///   step < W    base * step / W
///   constant    base
///   linear      base * (T - step) / (T - W)
///   cosine      base * (1 + cos(pi * (step - W) / (T - W))) / 2
///
/// as the schedules of the same names in transformers and diffusers. Throws UsageError for a broken rule of
/// TrainOptions (W > T), or a schedule of another name.
double learning_rate(const TrainOptions& options, int64_t step);

}  // namespace jointtuner::train
