// `doctor --bundle`: a few steps of a real denoiser.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>

#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/train/optimizer.h"
#include "jointtuner/train/training_step.h"
#include "kernels.h"
#include "training.h"

namespace jointtuner::doctor {
namespace {

constexpr int64_t kSteps = 3, kRank = 4;

/// Small enough for a CPU, large enough for every resolution of the denoiser.
backbone::VideoSize small_size(const backbone::Manifest& manifest) {
  const auto side = [&](int64_t multiple, int64_t preferred) {
    return std::min(4 * multiple * manifest.latents.spatial_compression, preferred);
  };
  return {std::min<int64_t>(9, manifest.preferred.frames),
          side(manifest.denoiser.height_multiple, manifest.preferred.height),
          side(manifest.denoiser.width_multiple, manifest.preferred.width)};
}

/// One clip of noise with a prompt of noise.
train::PreparedData clip_data(const backbone::Manifest& manifest) {
  data::Item clip;
  clip.kind = data::Kind::video;
  clip.caption = "a clip";
  clip.clip_starts_s = {0};
  train::PreparedData data({clip});
  const auto shape = backbone::latents_shape(manifest, small_size(manifest));
  const Tensor mean = normal_draw(shape, generator(0, 0, "latents"))[0].transpose(0, 1).contiguous();  // [F,C,h,w]
  data.set_posterior({}, {mean, at::full(mean.sizes(), 0.1)});
  data.set_embedding(clip.caption, normal_draw({1, manifest.text.max_length, manifest.text.embedding_width},
                                               generator(0, 0, "prompt")));
  return data;
}

struct Trained {
  Tensor losses;    ///< [steps]
  Tensor adapters;  ///< flat, on the CPU
};

Trained trained(const backbone::Bundle& bundle, at::Device device, bool checkpointed) {
  const backbone::Manifest& manifest = bundle.manifest();
  const auto segment_memory = checkpointed ? inject::SegmentMemory::recompute : inject::SegmentMemory::keep;
  const inject::GraphProgram program(bundle, device, {.segment_memory = {segment_memory}, .gated = true});
  adapter::AdapterSet adapters(program.sites(), kRank, /*gated=*/true, device);
  adapters.initialize(0, manifest.denoiser.gate_init);
  adapters.set_requires_grad(true);
  const train::PreparedData data = clip_data(manifest);
  adapter::AdapterOptions options;
  options.dropout = 0.1;
  train::StepSettings settings;
  settings.device = device;
  const train::TrainingStep step(data, diffusion::NoiseSchedule(manifest.schedule),
                                 train::adapted_denoiser(program, adapters, options), settings);
  const train::TrainOptions training;
  train::AdamW optimizer(adapters.flat(), training);
  std::vector<double> losses;
  for (int64_t i = 0; i < kSteps; ++i) {
    adapters.zero_gradient();
    losses.push_back(step.run({.micro_step = i, .epoch = 0, .draws = {{}}}).loss);
    optimizer.step(adapters.flat_gradient(), training.learning_rate);
  }
  return {at::tensor(losses, at::kDouble), adapters.flat().cpu()};
}

/// Hundreds of layers, each with the rounding of `dtype`, and another order of sums.
double limit_of(at::ScalarType dtype) { return dtype == at::kFloat ? 1e-3 : dtype == at::kHalf ? 2e-2 : 1e-1; }

Row bundle_row(const backbone::Bundle& bundle, std::string check, at::Device device, const Trained& found) {
  return {.part = "training",
          .check = fmt::format("{}: {}", bundle.path().filename().string(), check),
          .on = fmt::format("{} {}", device.str(), c10::getDtypeNames(bundle.manifest().denoiser.dtype).first),
          .found = fmt::format("loss {:.4f} -> {:.4f}", found.losses[0].item().toDouble(),
                               found.losses[-1].item().toDouble())};
}

}  // namespace

std::vector<Row> bundle_rows(const std::string& path, at::Device device) {
  const auto bundle = backbone::Bundle::open(path);
  const Trained plain = trained(bundle, at::kCPU, false), segments = trained(bundle, at::kCPU, true);
  Row exact = bundle_row(bundle, "checkpointed against plain", at::kCPU, segments);
  exact.error = largest_difference({segments.losses, segments.adapters}, {plain.losses, plain.adapters});
  exact.limit = 0;
  exact.verdict = judged(*exact.error, *exact.limit);
  if (device.is_cpu()) return {exact};
  const Trained gpu = trained(bundle, device, true);
  Row row = bundle_row(bundle, "against the CPU", device, gpu);
  row.error = largest_difference({gpu.losses}, {segments.losses});
  row.limit = limit_of(bundle.manifest().denoiser.dtype);
  row.verdict = judged(*row.error, *row.limit);
  return {exact, row};
}

}  // namespace jointtuner::doctor
