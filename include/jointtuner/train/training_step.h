// One micro-batch of the method (JointTuner, arXiv 2503.23951, algorithm 1): draw, noise, predict, compare, backward.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "jointtuner/data/joint_batches.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/diffusion/options.h"
#include "jointtuner/train/denoise.h"
#include "jointtuner/train/prepared_data.h"

namespace jointtuner::train {

struct StepSettings {
  uint64_t seed = 0;
  double scaling_factor = 1;    ///< latents = autoencoder latents * scaling_factor
  int64_t frames_multiple = 1;  ///< latents are padded in front to such a number of frames (backbone/video_size.h)
  at::Device device = at::kCPU;
  diffusion::LossOptions loss;
};

/// One item of the micro-batch as it was trained on.
struct ItemResult {
  data::ItemDraw draw;
  data::Kind kind = data::Kind::image;
  int64_t timestep = 0;
  double loss = 0;  ///< before its weight
};

struct TrainingStepResult {
  std::vector<ItemResult> items;    ///< in the order of the batch
  double loss = 0;                  ///< sum of weight * item loss, divided by B
  std::optional<double> mean_gate;  ///< over items and adapted sites; empty for plain LoRA
};

/// A micro-batch that was run, its numbers still on the device. Reading them makes the host wait for the device, so the
/// trainer reads those of all its micro-batches at once.
class RunningStep {
 public:
  /// Losses and the mean gate, float64 [N] on the device.
  const Tensor& measured() const { return measured_; }
  /// The result, given measured() on the CPU.
  TrainingStepResult result(const Tensor& measured) const;

 private:
  friend class TrainingStep;
  TrainingStepResult unread_;   ///< items without their losses
  std::vector<size_t> places_;  ///< of the losses among the items: the images', then the videos'
  std::vector<double> weights_;
  bool gated_ = false;
  Tensor measured_;  ///< losses, then the mean gate where gated_
};

class TrainingStep {
 public:
  /// Keeps references to `data`.
  TrainingStep(const PreparedData& data, const diffusion::NoiseSchedule& schedule, Denoise denoise,
               StepSettings settings);

  /// For the micro-batch m = batch.micro_step of B items, with every draw from generator(seed, m, name) on the CPU:
  ///
  ///   t                = randint(train timesteps, [B]), "timestep", in the order of the batch;
  ///                      then diffusion::shifted_timestep with the shift of the item's kind
  ///   dropout seed     = randint(2^63 - 1, [1]), "dropout"
  ///
  /// then all images together (F = 1), then all videos, each drawn as a whole from the same generators:
  ///
  ///   x0               = (mean + std * randn) * scaling_factor, "posterior", [Bg,C,F,h,w],
  ///                      with copies of the first frame in front up to a multiple of frames_multiple
  ///   epsilon          = randn, "noise", [Bg,C,F,h,w]
  ///   prediction       = denoise(q(x_t | x0, epsilon), t, prompt embedding, dropout seed)
  ///   loss of an image = mean((prediction - target)^2)
  ///   loss of a video  = mean((prediction + strength * s - target)^2),  s = randn, "prediction_shift", [Bg,1,1,h,w]
  ///                      (loss.video "ait"), or as an image's ("diffusion", no s is drawn)
  ///   loss             = sum of weight(kind) * item loss / B
  ///
  /// Adds gradient_factor * d loss / d adapters to the adapters' gradients; reports plain losses, finite or not. With
  /// gate pooling "batch" the pool is one group. Throws Error when posteriors of one kind differ in shape.
  TrainingStepResult run(const data::JointBatch& batch, double gradient_factor = 1.0) const;

  /// The same without waiting for the device.
  RunningStep start(const data::JointBatch& batch, double gradient_factor = 1.0) const;

 private:
  struct StepRandomness;
  struct SameKind;
  struct SameKindResult {
    Tensor losses;  ///< float64 [Bg] on the device
    Tensor gate;    ///< float64 [], undefined for plain LoRA
  };
  SameKind gather(const data::JointBatch& batch, data::Kind kind) const;
  SameKindResult run_same_kind(data::Kind kind, const SameKind& items, const StepRandomness& random,
                               double loss_factor) const;

  const PreparedData& data_;
  const diffusion::NoiseSchedule schedule_;
  Tensor alphas_cumprod_;  ///< on the device
  Denoise denoise_;
  StepSettings settings_;
};

}  // namespace jointtuner::train
