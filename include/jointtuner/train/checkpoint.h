// A checkpoint: all that a run needs to go on, in a folder that appears whole or not at all.
//
//   adapter.safetensors     the adapters, an ordinary adapter file
//   optimizer.safetensors   exp_avg, exp_avg_sq, step
//   state.json              format, version, step, epoch, loss_scaler, data_hash, denoiser_sha256, config, SHA-256 and
//                           size of the two files
// All randomness is a function of (seed, step), so no generator state is kept.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/train/loss_scaler.h"
#include "jointtuner/train/optimizer.h"

namespace jointtuner::train {

/// What makes two runs the same run.
struct RunIdentity {
  std::string config_json;      ///< the resolved config, complete: {"train": {"steps": 2000, ...}, ...}
  std::string data_hash;        ///< data::data_hash of the items
  std::string denoiser_sha256;  ///< of the bundle's denoiser file
};

struct CheckpointState {
  int64_t step = 0;   ///< optimiser steps done
  int64_t epoch = 0;  ///< of the next item
  LossScaler::State loss_scaler;
  RunIdentity identity;
};

/// What a checkpoint holds, in memory.
struct TrainingState {
  adapter::AdapterSet& adapters;
  AdamW& optimizer;
  LossScaler& loss_scaler;
};

/// Writes the folder `path` (replacing one that is there, which can only be a damaged one), with metadata.step =
/// state.step. Equal states give equal bytes.
/// Throws Error when the disk is full or an adapter value is not finite; nothing is left under the name then.
void save_checkpoint(const std::filesystem::path& path, CheckpointState state, const TrainingState& training,
                     adapter::AdapterMetadata metadata);

/// Reads state.json and compares both files with their hashes. Throws Error naming what is missing or damaged.
CheckpointState load_checkpoint_state(const std::filesystem::path& path);

/// Puts a checkpoint's values into `training`. Throws Error when they do not fit.
void restore_checkpoint(const std::filesystem::path& path, const CheckpointState& state, TrainingState& training);

/// step_00000500
std::string checkpoint_name(int64_t step);

/// Step -> checkpoint folder in `folder`; empty when there is no such folder.
std::map<int64_t, std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);

/// Why a run described by `now` cannot continue one described by `saved`: the first differing JSON path with both
/// values, or data or backbone; "" if it can. Free to change: train.checkpoint_every, train.keep_checkpoints,
/// train.activation_checkpointing, sample.*, preview.*, about, run.name, run.output, run.device, run.threads,
/// run.memory, backbone.bundle (its denoiser's hash decides), data.images, data.videos (the data hash decides),
/// data.cache, data.on_bad_item, and train.steps while train.learning_rate_schedule is constant. On another device or
/// number of threads the run continues correctly, but rounding may differ.
std::string reason_not_to_resume(const RunIdentity& saved, const RunIdentity& now);

}  // namespace jointtuner::train
