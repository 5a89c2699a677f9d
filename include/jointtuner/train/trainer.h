// The loop of a run: steps, metrics, checkpoints, previews, and an orderly end whatever happens.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/data/joint_batches.h"
#include "jointtuner/train/loss_scaler.h"
#include "jointtuner/train/optimizer.h"
#include "jointtuner/train/options.h"
#include "jointtuner/train/run_folder.h"
#include "jointtuner/train/training_step.h"

namespace jointtuner::train {

struct StepMetrics;
class MetricsFile;
class EventFile;

/// Built parts of a run; the trainer keeps references to them.
struct TrainerParts {
  const PreparedData& data;
  const data::JointBatches& batches;
  const TrainingStep& step;
  adapter::AdapterSet& adapters;
  const RunFolder& folder;
};

/// Makes the preview of `step` with the adapters as they are and returns PNG files to show in TensorBoard.
using Preview = std::function<std::vector<std::filesystem::path>(int64_t step, const adapter::AdapterSet& adapters)>;

struct TrainerOptions {
  TrainOptions train;
  PreviewOptions preview;
  adapter::AdapterMetadata metadata;  ///< of the adapter files; its step is filled in
  bool loss_scaling = false;          ///< for float16 backbones
  /// Called after every checkpoint, also the one before Interrupted is thrown.
  std::function<void(int64_t step)> after_checkpoint = {};
};

class Trainer {
 public:
  /// Makes the adapters trainable and continues from the folder's checkpoint, if it has one. Throws UsageError when
  /// train.steps is less than the steps done already.
  Trainer(TrainerParts parts, TrainerOptions options, Preview preview = {});
  ~Trainer();

  /// Trains to the last step. Optimiser step s is micro-batches s * accumulation ... + accumulation - 1, whose
  /// gradients are averaged; then (unscale,) clip, update. After every step one line of metrics.jsonl and the same in
  /// TensorBoard's file; after every checkpoint_every-th and the last a checkpoint; after every preview.every-th a
  /// preview.
  ///
  /// Throws
  ///   Error        a loss or gradient is not finite, naming item and timestep. The parameters were not updated with
  ///                it and nothing was saved since; with loss scaling the step is skipped instead;
  ///                or a file cannot be written.
  ///   Interrupted  after Ctrl-C: the step was finished, a checkpoint saved.
  void run();

  /// Optimiser steps done.
  int64_t step() const { return step_; }

 private:
  int64_t restore();
  StepMetrics optimiser_step();
  void read_numbers(const std::vector<RunningStep>& micro_steps, const Tensor& gradient, StepMetrics& metrics) const;
  void report(const StepMetrics& metrics);
  void save_checkpoint();
  void make_preview();

  TrainerParts parts_;
  TrainerOptions options_;
  Preview preview_;
  AdamW optimizer_;
  LossScaler loss_scaler_;
  int64_t step_;
  int64_t saved_step_;  ///< of the newest checkpoint
  std::unique_ptr<MetricsFile> metrics_;
  std::unique_ptr<EventFile> events_;
};

}  // namespace jointtuner::train
