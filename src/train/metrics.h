// What a run tells about each optimiser step: metrics.jsonl, one JSON object a line. Private to train.
#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "jointtuner/data/item.h"
#include "jointtuner/train/training_step.h"

namespace jointtuner::train {

/// Line of metrics.jsonl: step, epoch, loss, loss_image, loss_video (null without such an item), gradient_norm (before
/// clipping), learning_rate, mean_gate, loss_scale, skipped, seconds, samples_per_second, peak_memory_bytes, items:
/// [{name, kind, timestep, loss, flip | clip}].
struct StepMetrics {
  int64_t step = 0;  ///< optimiser steps done, from 1
  int64_t epoch = 0;
  double loss = 0;
  std::optional<double> loss_image;  ///< mean over the step's images, before the weight
  std::optional<double> loss_video;
  double gradient_norm = 0;
  double learning_rate = 0;
  std::optional<double> mean_gate;  ///< empty for plain LoRA
  double loss_scale = 1;
  bool skipped = false;  ///< not finite under the loss scaler: parameters unchanged
  double seconds = 0;
  int64_t samples = 0;  ///< items of all micro-batches
  int64_t peak_memory_bytes = 0;
  std::vector<ItemResult> items;
};

/// The line, without line end. Numbers that are not finite become the texts "nan", "inf", "-inf": JSON has none.
std::string metrics_line(const StepMetrics& metrics, const std::vector<data::Item>& items);

/// metrics.jsonl, open for appending; each line reaches the system at once.
class MetricsFile {
 public:
  /// Keeps the lines of steps 1 .. `last_step`, which must be there in order, and cuts off all that follows (also half
  /// a line). Throws Error naming the file when it cannot be written or a kept line is missing.
  MetricsFile(std::filesystem::path path, int64_t last_step);

  void append(const std::string& line);
  /// Flushes to the disk.
  void sync();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
};

/// Peak memory in bytes: on the CPU the process's largest resident size so far, on a device the largest sum of tensors
/// its allocator held.
int64_t peak_memory_bytes(at::Device device);

}  // namespace jointtuner::train
