// Tiny bundles of every family, their denoisers and adapters that do something, to sample small videos in two steps.
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <map>

#include "jointtuner/base/generator.h"
#include "jointtuner/sample/latents_file.h"
#include "jointtuner/sample/sampling.h"
#include "jointtuner/sample/settings.h"
#include "support/expect_error.h"
#include "support/families.h"

namespace jointtuner::sample {

namespace fs = std::filesystem;

class NanoSampling : public ::testing::TestWithParam<testing::Family> {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }

  /// Loaded once for each family.
  struct Backbone {
    explicit Backbone(const testing::Family& family)
        : bundle(backbone::Bundle::open(family.bundle)),
          program(bundle, at::kCPU),
          adapters(program.sites(), 2, true, at::kCPU) {
      // Random values everywhere, so that every site changes the prediction.
      adapters.assign(normal_draw({adapters.parameters()}, generator(1, 0, "adapters")).mul(0.3));
    }
    backbone::Bundle bundle;
    inject::GraphProgram program;
    adapter::AdapterSet adapters;
  };
  const Backbone& loaded() const {
    static std::map<std::string, Backbone> all;
    return all.try_emplace(GetParam().name, GetParam()).first->second;
  }
  const backbone::Bundle& bundle() const { return loaded().bundle; }
  const inject::GraphProgram& program() const { return loaded().program; }
  const adapter::AdapterSet& adapters() const { return loaded().adapters; }
  /// Whether a strength can be given to the spatial sites alone.
  bool has_group(const std::string& group) const {
    const auto& sites = program().sites();
    return std::any_of(sites.begin(), sites.end(), [&](const auto& site) { return site.group == group; });
  }

  SampleOptions small_options(std::vector<std::string> prompts = {"a cat"}) const {
    SampleOptions options;
    options.prompts = std::move(prompts);
    options.steps = 2;
    options.guidance = 3;
    options.guidance_schedule = "constant";
    options.frames = GetParam().frames;
    options.height = GetParam().height;
    options.width = GetParam().width;
    options.fps = 8;
    return options;
  }
  /// [1,C,F,h,w] of the noise that such a video begins with, and the frames of its result.
  std::vector<int64_t> noise_shape() const {
    return backbone::latents_shape(bundle().manifest(), video_size(small_options()));
  }
  int64_t latent_frames() const { return backbone::latent_frames(bundle().manifest().latents, GetParam().frames); }

  NamedAdapter trained(double scale = 1, adapter::GatePooling pooling = adapter::GatePooling::sample) const {
    NamedAdapter named;
    named.label = "step 5";
    named.adapters = &adapters();
    named.metadata.rank = 2;
    named.metadata.scale = scale;
    named.metadata.gate_pooling = pooling;
    named.metadata.step = 5;
    return named;
  }

  std::vector<Video> denoise_into(const fs::path& folder, const SampleOptions& options, const NamedAdapter& named = {},
                                  const fs::path& initial_latents = {}) const {
    return Sampling(bundle(), at::kCPU, options, initial_latents).denoise(program(), named, folder);
  }
  /// Latents of each video, sampled in a folder of its own.
  std::vector<Tensor> latents_of(const SampleOptions& options, const NamedAdapter& named = {},
                                 const fs::path& initial_latents = {}) const {
    const testing::TemporaryFolder folder;
    std::vector<Tensor> latents;
    for (const Video& video : denoise_into(folder.path(), options, named, initial_latents))
      latents.push_back(load_latents(folder / (video.name + std::string(kLatentsEnding))).latents.clone());
    return latents;
  }
  Tensor one(const SampleOptions& options, const NamedAdapter& named = {}) const {
    return latents_of(options, named).at(0);
  }
};

}  // namespace jointtuner::sample
