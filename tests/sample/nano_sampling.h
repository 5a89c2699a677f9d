// The tiny bundle, its denoiser and adapters that do something, to sample 16x12 px videos of 3 frames in two steps.
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include "jointtuner/base/generator.h"
#include "jointtuner/sample/latents_file.h"
#include "jointtuner/sample/sampling.h"
#include "support/expect_error.h"
#include "support/nano_bundle.h"

namespace jointtuner::sample {

namespace fs = std::filesystem;

inline SampleOptions small_options(std::vector<std::string> prompts = {"a cat"}) {
  SampleOptions options;
  options.prompts = std::move(prompts);
  options.steps = 2;
  options.guidance = 3;
  options.frames = 3;
  options.height = 12;
  options.width = 16;
  return options;
}

class NanoSampling : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }

  static const backbone::Bundle& bundle() {
    static const backbone::Bundle opened = backbone::Bundle::open(testing::golden("nano_bundle"));
    return opened;
  }
  static const inject::GraphProgram& program() {
    static const inject::GraphProgram loaded(bundle(), at::kCPU, {.activation_checkpointing = false});
    return loaded;
  }
  /// Random values everywhere, so that every site changes the prediction.
  static const adapter::AdapterSet& adapters() {
    static const adapter::AdapterSet made = [] {
      adapter::AdapterSet set(program().sites(), 2, true, at::kCPU);
      set.assign(normal_draw({set.parameters()}, generator(1, 0, "adapters")).mul(0.3));
      return set;
    }();
    return made;
  }
  static NamedAdapter trained(double scale = 1, adapter::GatePooling pooling = adapter::GatePooling::sample) {
    NamedAdapter named;
    named.label = "step 5";
    named.adapters = &adapters();
    named.metadata.rank = 2;
    named.metadata.scale = scale;
    named.metadata.gate_pooling = pooling;
    named.metadata.step = 5;
    return named;
  }

  static std::vector<Video> denoise_into(const fs::path& folder, const SampleOptions& options,
                                         const NamedAdapter& named = {}, const fs::path& initial_latents = {}) {
    return Sampling(bundle(), at::kCPU, options, initial_latents).denoise(program(), named, folder);
  }
  /// Latents of each video, sampled in a folder of its own.
  static std::vector<Tensor> latents_of(const SampleOptions& options, const NamedAdapter& named = {},
                                        const fs::path& initial_latents = {}) {
    const testing::TemporaryFolder folder;
    std::vector<Tensor> latents;
    for (const Video& video : denoise_into(folder.path(), options, named, initial_latents))
      latents.push_back(load_latents(folder / (video.name + std::string(kLatentsEnding))).latents.clone());
    return latents;
  }
  static Tensor one(const SampleOptions& options, const NamedAdapter& named = {}) {
    return latents_of(options, named).at(0);
  }
};

}  // namespace jointtuner::sample
