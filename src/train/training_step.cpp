#include "jointtuner/train/training_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <limits>

#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/device.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/diffusion/losses.h"
#include "jointtuner/diffusion/prediction_type.h"
#include "jointtuner/diffusion/timesteps.h"
#include "jointtuner/kernels/gate_meter.h"

namespace jointtuner::train {

namespace {

Tensor stacked(const std::vector<Tensor>& posteriors) { return at::stack(posteriors).transpose(1, 2).contiguous(); }

}  // namespace

/// The items of one kind in a batch: their places in it and what they bring along.
struct TrainingStep::SameKind {
  std::vector<int64_t> places;  ///< in the batch
  Tensor mean;                  ///< [Bg,C,F,h,w]
  Tensor std;                   ///< [Bg,C,F,h,w]
  Tensor embedding;             ///< [Bg,L,D]
};

/// The named draws of one micro-step; the generators advance from the images to the videos.
struct TrainingStep::StepRandomness {
  StepRandomness(uint64_t seed, int64_t micro_step, int64_t batch, int64_t train_timesteps)
      : posterior(generator(seed, micro_step, "posterior")),
        noise(generator(seed, micro_step, "noise")),
        prediction_shift(generator(seed, micro_step, "prediction_shift")),
        timestep(at::randint(train_timesteps, {batch}, generator(seed, micro_step, "timestep"), at::kLong)),
        dropout_seed(
            at::randint(std::numeric_limits<int64_t>::max(), {1}, generator(seed, micro_step, "dropout"), at::kLong)
                .item()
                .toLong()) {}
  at::Generator posterior, noise, prediction_shift;
  Tensor timestep;
  int64_t dropout_seed;
};

TrainingStep::TrainingStep(const PreparedData& data, const diffusion::NoiseSchedule& schedule, Denoise denoise,
                           StepSettings settings)
    : data_(data),
      schedule_(schedule),
      alphas_cumprod_(schedule.alphas_cumprod().to(settings.device)),
      denoise_(std::move(denoise)),
      settings_(std::move(settings)) {}

TrainingStep::SameKind TrainingStep::gather(const data::JointBatch& batch, data::Kind kind) const {
  SameKind items;
  std::vector<Tensor> means, stds, embeddings;
  for (size_t place = 0; place < batch.draws.size(); ++place) {
    const data::ItemDraw& draw = batch.draws[place];
    if (data_.item(draw).kind != kind) continue;
    const Posterior& posterior = data_.posterior(draw);
    if (!means.empty() && posterior.mean.sizes() != means.front().sizes())
      throw Error(fmt::format("{}: latents are {}, but {} in the same batch: encode all items at one size",
                              data_.item(draw).path.string(), shape_text(posterior.mean.sizes()),
                              shape_text(means.front().sizes())));
    items.places.push_back(static_cast<int64_t>(place));
    means.push_back(posterior.mean);
    stds.push_back(posterior.std);
    embeddings.push_back(data_.embedding(draw));
  }
  if (!means.empty()) {
    items.mean = stacked(means);
    items.std = stacked(stds);
    items.embedding = at::cat(embeddings);
  }
  return items;
}

TrainingStepResult RunningStep::result(const Tensor& measured) const {
  TrainingStepResult result = unread_;
  const double* values = measured.const_data_ptr<double>();
  for (size_t i = 0; i < places_.size(); ++i) {
    result.items[places_[i]].loss = values[i];
    result.loss += weights_[i] * values[i];
  }
  if (gated_) result.mean_gate = values[places_.size()];
  return result;
}

TrainingStepResult TrainingStep::run(const data::JointBatch& batch, double gradient_factor) const {
  const RunningStep step = start(batch, gradient_factor);
  return step.result(step.measured().cpu());
}

RunningStep TrainingStep::start(const data::JointBatch& batch, double gradient_factor) const {
  const auto batch_size = static_cast<int64_t>(batch.draws.size());
  StepRandomness random(settings_.seed, batch.micro_step, batch_size, schedule_.train_timesteps());
  RunningStep step;
  for (int64_t place = 0; place < batch_size; ++place) {
    const data::ItemDraw& draw = batch.draws[static_cast<size_t>(place)];
    const data::Kind kind = data_.item(draw).kind;
    int64_t& timestep = random.timestep.mutable_data_ptr<int64_t>()[place];
    timestep = diffusion::shifted_timestep(
        timestep, kind == data::Kind::video ? settings_.loss.video_timestep_shift : settings_.loss.image_timestep_shift,
        schedule_.train_timesteps());
    step.unread_.items.push_back({draw, kind, timestep, 0.0});
  }
  std::vector<Tensor> measured;
  Tensor gate;
  for (const data::Kind kind : {data::Kind::image, data::Kind::video}) {
    const SameKind items = gather(batch, kind);
    if (items.places.empty()) continue;
    const double share = 1 / static_cast<double>(batch_size);
    const double weight =
        (kind == data::Kind::video ? settings_.loss.video_weight : settings_.loss.image_weight) * share;
    const SameKindResult result = run_same_kind(kind, items, random, weight * gradient_factor);
    step.places_.insert(step.places_.end(), items.places.begin(), items.places.end());
    step.weights_.insert(step.weights_.end(), items.places.size(), weight);
    measured.push_back(result.losses);
    if (result.gate.defined()) {
      const Tensor part = result.gate * (static_cast<double>(items.places.size()) * share);
      gate = gate.defined() ? gate + part : part;
    }
  }
  step.gated_ = gate.defined();
  if (step.gated_) measured.push_back(gate.view({1}));
  step.measured_ = at::cat(measured);
  return step;
}

TrainingStep::SameKindResult TrainingStep::run_same_kind(data::Kind kind, const SameKind& items,
                                                         const StepRandomness& random, double loss_factor) const {
  const bool video = kind == data::Kind::video;
  const at::Device device = settings_.device;
  const diffusion::LossOptions& loss = settings_.loss;
  const Tensor timestep = to_device(random.timestep.index_select(0, at::tensor(items.places)), device);

  const Tensor sample = items.mean + items.std * normal_draw(items.mean.sizes(), random.posterior);
  const Tensor latents =
      to_device(backbone::padded_frames(sample * settings_.scaling_factor, settings_.frames_multiple), device);
  const Tensor noise = to_device(normal_draw(latents.sizes(), random.noise), device);
  const auto [noisy, target] =
      diffusion::noisy_example(schedule_.prediction_type(), latents, noise, timestep, alphas_cumprod_);
  Tensor prediction, gate;
  {
    const kernels::GateMeter meter;  // over the forward pass alone: with checkpointing the backward pass repeats it
    prediction = denoise_(noisy, timestep, to_device(items.embedding, device), random.dropout_seed);
    gate = meter.mean();
  }

  Tensor losses;  // [Bg]
  if (video && loss.video == "ait") {
    const Tensor shift = to_device(
        normal_draw({latents.size(0), 1, 1, latents.size(3), latents.size(4)}, random.prediction_shift), device);
    losses = diffusion::ait_loss(prediction, target, shift, loss.shift_strength);
  } else {
    losses = diffusion::diffusion_loss(prediction, target);
  }
  (losses.sum() * loss_factor).backward();
  return {losses.detach().to(at::kDouble), gate};
}

}  // namespace jointtuner::train
