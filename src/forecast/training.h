// The trained state of a run on `meta`, and steps of it. Private to forecast.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "dry_run.h"
#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/forecast/stage.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/train/optimizer.h"
#include "jointtuner/train/prepared_data.h"
#include "jointtuner/train/training_step.h"

namespace jointtuner::forecast {

/// The frozen denoiser with its adapters, and, where it trains, their gradients and the optimiser.
struct Trained {
  Trained(const backbone::Bundle& bundle, const Work& work, const DryRun& run, bool training);

  inject::GraphProgram program;
  int64_t weights;
  adapter::AdapterSet adapters;
  std::optional<train::AdamW> optimizer;
  int64_t state = 0;  ///< bytes of adapters, gradients and optimiser
};

/// Optimiser steps as Trainer makes them, on a picture and a clip of the run's sizes.
class Training {
 public:
  Training(const backbone::Bundle& bundle, const Work& work, c10::Device described);

  /// All steps, and what they took. Later calls may choose other segment memory.
  Stage steps(const std::vector<inject::SegmentMemory>& segment_memory);

  inject::GraphProgram& program() { return trained_.program; }
  int64_t live() const { return run_.live(); }

 private:
  const Work work_;
  DryRun run_;
  Trained trained_;
  const train::PreparedData data_;
  const train::TrainingStep step_;
};

/// `run`'s peak as a stage.
Stage stage(const char* name, const DryRun& run, int64_t weights, int64_t adapters);

}  // namespace jointtuner::forecast
