// jointtuner's side of the benchmark pairs; bench/eager.py is the other. See bench/README.md.
//
// usage: jointtuner_bench MODE BUNDLE FRAMES HEIGHT WIDTH     MODE: train | train-checkpointed | frozen | sample
//        jointtuner_bench decode VIDEO
// Prints `ready`, then for every line on standard input does one unit of work and prints the seconds it took.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <c10/core/GradMode.h>

#include <chrono>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/backbone/bundle.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/base/memory_allocator.h"
#include "jointtuner/diffusion/sampler.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/media/video_reader.h"
#include "jointtuner/train/denoise.h"
#include "jointtuner/train/optimizer.h"
#include "jointtuner/train/training_step.h"

namespace jointtuner {
namespace {

using at::Tensor;

constexpr int64_t kRank = 32, kSamplingSteps = 4;

/// One unit of work; returns how many repetitions of the measured thing it held.
using Unit = std::function<int64_t()>;

Tensor draw(at::IntArrayRef sizes, std::string_view name) { return normal_draw(sizes, generator(0, 0, name)); }

/// A backbone with trained-looking adapters (lora_up is not zero), and inputs for a video of one size.
struct Model {
  Model(const std::string& path, const backbone::VideoSize& size, bool checkpointed)
      : bundle(backbone::Bundle::open(path)),
        program(bundle, at::kCPU,
                {.segment_memory = {checkpointed ? inject::SegmentMemory::recompute : inject::SegmentMemory::keep}}),
        adapters(program.sites(), kRank, true, at::kCPU),
        schedule(bundle.manifest().schedule),
        latents(draw(backbone::latents_shape(bundle.manifest(), size), "latents")),
        prompt(draw({1, bundle.manifest().text.max_length, bundle.manifest().text.embedding_width}, "prompt")) {
    adapters.initialize(0, bundle.manifest().denoiser.gate_init);
    for (size_t site = 0; site < adapters.size(); ++site) {
      Tensor up = adapters.at(site).up;
      up.copy_(draw(up.sizes(), adapters.sites()[site].path).mul(0.01));
    }
  }
  backbone::Bundle bundle;
  inject::GraphProgram program;
  adapter::AdapterSet adapters;
  diffusion::NoiseSchedule schedule;
  Tensor latents, prompt;
};

Unit training(const std::shared_ptr<Model>& model) {
  model->adapters.set_requires_grad(true);
  data::Item clip;
  clip.kind = data::Kind::video;
  clip.caption = "a clip";
  clip.clip_starts_s = {0};
  auto data = std::make_shared<train::PreparedData>(std::vector<data::Item>{clip});
  const Tensor mean = model->latents[0].transpose(0, 1).contiguous();  // [F,C,h,w]
  data->set_posterior({}, {mean, at::full(mean.sizes(), 0.1)});
  data->set_embedding(clip.caption, model->prompt);
  adapter::AdapterOptions options;
  options.gate_pooling = "batch";
  auto step = std::make_shared<train::TrainingStep>(
      *data, model->schedule, train::adapted_denoiser(model->program, model->adapters, options), train::StepSettings{});
  const train::TrainOptions settings;
  auto optimizer = std::make_shared<train::AdamW>(model->adapters.flat(), settings);
  return [=, micro_step = int64_t{0}]() mutable {
    model->adapters.zero_gradient();
    step->run({.micro_step = micro_step++, .epoch = 0, .draws = {{}}});
    optimizer->step(model->adapters.flat_gradient(), settings.learning_rate);
    return int64_t{data != nullptr};
  };
}

/// Forward and backward to the input of the frozen model: what a training step costs without adapters.
Unit frozen(const std::shared_ptr<Model>& model) {
  return [model] {
    const Tensor input = model->latents.clone().requires_grad_(true);
    model->program.run(input, at::full({1}, 500, at::kLong), model->prompt, nullptr).sum().backward();
    return int64_t{1};
  };
}

/// The bundle's own sampler and guidance scale.
Unit sampling(const std::shared_ptr<Model>& model) {
  const backbone::Manifest& manifest = model->bundle.manifest();
  const diffusion::Sampler sampler = diffusion::parse_sampler(manifest.schedule.default_sampler);
  const Tensor prompts = at::cat({model->prompt, model->prompt});
  const diffusion::SamplerDenoise denoise = [model, prompts](const Tensor& x, int64_t timestep) {
    const inject::AdapterRun how{.pooling = adapter::GatePooling::batch};
    const Tensor both =
        model->program.run(at::cat({x, x}), at::full({2}, timestep, at::kLong), prompts, &model->adapters, how);
    return diffusion::DenoiserOutput{both.narrow(0, 0, 1), both.narrow(0, 1, 1)};
  };
  diffusion::SamplerSettings settings;
  settings.steps = kSamplingSteps;
  settings.guidance_scale = manifest.preferred.guidance;
  settings.noise = [model](int64_t step) { return draw(model->latents.sizes(), "sampler/" + std::to_string(step)); };
  return [=] {
    const c10::NoGradGuard no_grad;
    diffusion::sample(sampler, model->schedule, denoise, model->latents, settings);
    return kSamplingSteps;
  };
}

Unit decoding(const std::string& video) {
  return [video] {
    media::ClipRequest request;
    request.size = media::Size{256, 256};
    media::read_clip(video, request);
    return int64_t{1};
  };
}

constexpr const char* kUsage =
    "usage: jointtuner_bench train|train-checkpointed|frozen|sample BUNDLE FRAMES HEIGHT WIDTH, or decode VIDEO";

Unit unit_of(const std::vector<std::string>& words) {
  if (words.size() == 2 && words[0] == "decode") return decoding(words[1]);
  if (words.size() != 5) throw UsageError(kUsage);
  const std::string& mode = words[0];
  const backbone::VideoSize size{std::stoll(words[2]), std::stoll(words[3]), std::stoll(words[4])};
  const auto model = std::make_shared<Model>(words[1], size, mode == "train-checkpointed");
  if (mode == "train" || mode == "train-checkpointed") return training(model);
  if (mode == "frozen") return frozen(model);
  if (mode == "sample") return sampling(model);
  throw UsageError(kUsage);
}

double seconds(const Unit& unit) {
  const auto began = std::chrono::steady_clock::now();
  const int64_t repetitions = unit();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() /
         static_cast<double>(repetitions);
}

}  // namespace
}  // namespace jointtuner

int main(int argc, char** argv) {
  try {
    jointtuner::tune_memory_allocator();
    at::set_num_threads(2);
    const jointtuner::Unit unit = jointtuner::unit_of({argv + 1, argv + argc});
    jointtuner::seconds(unit);  // warm-up
    std::cout << "ready" << std::endl;
    for (std::string line; std::getline(std::cin, line);) std::cout << jointtuner::seconds(unit) << std::endl;
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "jointtuner_bench: " << error.what() << '\n';
    return 1;
  }
}
