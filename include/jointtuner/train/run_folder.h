// The folder of a run: which files it has, whether a run may use it, and where a resumed run goes on.
//
//   runs/NAME/config.json, metrics.jsonl, events.out.tfevents.*, train.log, checkpoints/step_00000500/,
//   previews/step_00000500/, adapter.safetensors, report.html
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "jointtuner/train/checkpoint.h"

namespace jointtuner::train {

class RunFolder {
 public:
  /// Opens `path` for a run, alone: a second process is refused while this object lives.
  ///   resume false: the folder must hold no run yet.
  ///   resume true: the newest usable checkpoint is found; a damaged one is reported as a warning and the one before is
  ///   taken; without any the run starts anew, which is logged.
  /// Then config.json is written. Throws Error: another run is in the folder; another process uses it; the run cannot
  /// be continued under `identity` (naming what differs); the folder cannot be made or written.
  RunFolder(std::filesystem::path path, RunIdentity identity, bool resume);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const RunIdentity& identity() const { return identity_; }
  /// State of the checkpoint from which the run goes on; empty for a new run.
  const std::optional<CheckpointState>& resumed() const { return resumed_; }
  /// Optimiser steps done before.
  int64_t first_step() const { return resumed_ ? resumed_->step : 0; }

  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path checkpoint(int64_t step) const { return checkpoints() / checkpoint_name(step); }
  std::filesystem::path preview(int64_t step) const { return path_ / "previews" / checkpoint_name(step); }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path log() const { return path_ / "train.log"; }
  std::filesystem::path adapter() const { return path_ / "adapter.safetensors"; }

  /// Restores the resumed checkpoint into `training`; nothing for a new run.
  void restore(TrainingState& training) const;
  /// Saves a checkpoint, makes adapter.safetensors the same file (hard link, or a copy where there are none), then
  /// removes all but the `keep` newest checkpoints (0 = keeps all; never the one just written).
  void save(CheckpointState state, const TrainingState& training, const adapter::AdapterMetadata& metadata,
            int64_t keep) const;

 private:
  class Lock;
  void find_checkpoint();
  void publish_adapter(int64_t step) const;
  std::filesystem::path path_;
  RunIdentity identity_;
  std::unique_ptr<Lock> lock_;
  std::optional<CheckpointState> resumed_;
};

}  // namespace jointtuner::train
