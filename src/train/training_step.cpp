#include "jointtuner/train/training_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <limits>

#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/diffusion/losses.h"
#include "jointtuner/diffusion/prediction_type.h"
#include "jointtuner/kernels/gate_meter.h"

namespace jointtuner::train {

namespace {

/// The items of one kind in a batch: their places in it and what they bring along.
struct Group {
  std::vector<int64_t> places;
  Tensor mean;       // [Bg,C,F,h,w]
  Tensor std;        // [Bg,C,F,h,w]
  Tensor embedding;  // [Bg,L,D]
};

Tensor stacked(const std::vector<Tensor>& posteriors) { return at::stack(posteriors).transpose(1, 2).contiguous(); }

Group gather(const PreparedData& data, const data::JointBatch& batch, data::Kind kind) {
  Group group;
  std::vector<Tensor> means, stds, embeddings;
  for (size_t place = 0; place < batch.draws.size(); ++place) {
    const data::Draw& draw = batch.draws[place];
    if (data.item(draw).kind != kind) {
      continue;
    }
    const data::Posterior& posterior = data.posterior(draw);
    if (!means.empty() && posterior.mean.sizes() != means.front().sizes()) {
      throw Error(fmt::format("{}: latents are {}, but {} in the same batch: encode all items at one size",
                              data.item(draw).path.string(), shape_text(posterior.mean.sizes()),
                              shape_text(means.front().sizes())));
    }
    group.places.push_back(static_cast<int64_t>(place));
    means.push_back(posterior.mean);
    stds.push_back(posterior.std);
    embeddings.push_back(data.embedding(draw));
  }
  if (!means.empty()) {
    group.mean = stacked(means);
    group.std = stacked(stds);
    group.embedding = at::cat(embeddings);
  }
  return group;
}

}  // namespace

/// The named draws of one micro-step; the generators advance from the images' group to the videos'.
struct TrainingStep::Draws {
  Draws(uint64_t seed, int64_t micro_step, int64_t batch, int64_t train_timesteps)
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

StepResult TrainingStep::run(const data::JointBatch& batch, double gradient_factor) const {
  const auto batch_size = static_cast<int64_t>(batch.draws.size());
  const Draws draws(settings_.seed, batch.micro_step, batch_size, schedule_.train_timesteps());
  StepResult result;
  for (int64_t place = 0; place < batch_size; ++place) {
    const data::Draw& draw = batch.draws[static_cast<size_t>(place)];
    result.items.push_back({draw, data_.item(draw).kind, draws.timestep[place].item().toLong(), 0.0});
  }
  run_group(data::Kind::image, batch, draws, gradient_factor, result);
  run_group(data::Kind::video, batch, draws, gradient_factor, result);
  return result;
}

void TrainingStep::run_group(data::Kind kind, const data::JointBatch& batch, const Draws& draws, double gradient_factor,
                             StepResult& result) const {
  const Group group = gather(data_, batch, kind);
  if (group.places.empty()) {
    return;
  }
  const bool video = kind == data::Kind::video;
  const at::Device device = settings_.device;
  const diffusion::LossOptions& loss = settings_.loss;
  const Tensor timestep = draws.timestep.index_select(0, at::tensor(group.places)).to(device);

  const Tensor sample = group.mean + group.std * normal_draw(group.mean.sizes(), draws.posterior);
  const Tensor latents =
      backbone::padded_frames(sample * settings_.scaling_factor, settings_.frames_multiple).to(device);
  const Tensor noise = normal_draw(latents.sizes(), draws.noise).to(device);
  const auto [noisy, target] =
      diffusion::noisy_example(schedule_.prediction_type(), latents, noise, timestep, alphas_cumprod_);
  const double share = 1 / static_cast<double>(batch.draws.size());
  Tensor prediction;
  {
    const kernels::GateMeter meter;  // over the forward pass alone: with checkpointing the backward pass repeats it
    prediction = denoise_(noisy, timestep, group.embedding.to(device), draws.dropout_seed);
    if (const std::optional<double> mean = meter.mean()) {
      const double group_share = static_cast<double>(group.places.size()) * share;
      result.mean_gate = result.mean_gate.value_or(0) + *mean * group_share;
    }
  }

  Tensor losses;  // [Bg]
  if (video && loss.video == "ait") {
    const Tensor shift =
        normal_draw({latents.size(0), 1, 1, latents.size(3), latents.size(4)}, draws.prediction_shift).to(device);
    losses = diffusion::ait_loss(prediction, target, shift, loss.shift_strength);
  } else if (video && loss.video == "static_weighted") {
    losses = diffusion::static_weighted_loss(prediction, target, loss.static_weight);
  } else {
    losses = diffusion::diffusion_loss(prediction, target);
  }
  const double weight = (video ? loss.video_weight : loss.image_weight) * share;
  (losses.sum() * (weight * gradient_factor)).backward();

  const Tensor values = losses.detach().cpu();
  for (size_t i = 0; i < group.places.size(); ++i) {
    const double value = values[static_cast<int64_t>(i)].item().toDouble();
    result.items[static_cast<size_t>(group.places[i])].loss = value;
    result.loss += weight * value;
  }
}

}  // namespace jointtuner::train
