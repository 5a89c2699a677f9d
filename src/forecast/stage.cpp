#include "jointtuner/forecast/stage.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/backbone/text_encoder.h"
#include "jointtuner/backbone/video_size.h"
#include "jointtuner/sample/denoise.h"
#include "jointtuner/sample/settings.h"
#include "training.h"

namespace jointtuner::forecast {

namespace {

using at::Tensor;

/// Zeros of any size in the memory of one.
Tensor zeros(const std::vector<int64_t>& shape) { return at::zeros({}, at::kFloat).expand(shape); }

}  // namespace

Stage encode_text(const backbone::Bundle& bundle, c10::Device described) {
  const DryRun run(described);
  const backbone::TextEncoder encoder(bundle, at::kMeta);
  const int64_t weights = run.live();
  encoder.encode("");
  return stage("encode text", run, weights, 0);
}

Stage encode_latents(const backbone::Bundle& bundle, const Work& work, c10::Device described) {
  const DryRun run(described);
  const backbone::Autoencoder autoencoder(bundle, at::kMeta, {.encode_tile_px = work.data.encode_tile});
  const int64_t weights = run.live();
  const int64_t frames = work.data.videos.empty() && !work.data.images.empty() ? 1 : work.data.frames;
  autoencoder.encode(zeros({frames, 3, work.data.height, work.data.width}));
  return stage("encode latents", run, weights, 0);
}

Stage train(const backbone::Bundle& bundle, const Work& work, c10::Device described) {
  return Training(bundle, work, described).steps(work.segment_memory);
}

Stage preview(const backbone::Bundle& bundle, const Work& work, c10::Device described) {
  constexpr int64_t kSteps = 3;  // a multistep sampler holds all that it ever does after two
  const backbone::Manifest& manifest = bundle.manifest();
  DryRun run(described);
  const Trained trained(bundle, work, run, work.previews);
  run.start_peak();
  sample::NamedAdapter named;
  named.adapters = &trained.adapters;
  sample::SampleOptions options = work.sample;
  options.steps = std::min(kSteps, options.steps);
  const Tensor prompt = zeros({1, manifest.text.max_length, manifest.text.embedding_width});
  const std::vector<int64_t> shape = backbone::latents_shape(manifest, sample::video_size(options));
  sample::denoise({trained.program, at::kMeta, manifest.schedule, named},
                  {.latents = zeros(shape), .prompt = prompt, .unconditional = prompt, .seed = 0}, options,
                  [](int64_t) {});
  return stage("preview", run, trained.weights, trained.state);
}

Stage decode(const backbone::Bundle& bundle, const Work& work, c10::Device described) {
  const backbone::Manifest& manifest = bundle.manifest();
  const DryRun run(described);
  std::optional<Trained> trained;
  if (work.previews) trained.emplace(bundle, work, run, true);
  const int64_t state = trained ? trained->state : 0;
  const backbone::Autoencoder autoencoder(
      bundle, at::kMeta, {.slice_frames = work.sample.decode_slice, .tile_px = work.sample.decode_tile});
  const int64_t weights = run.live() - state;
  std::vector<int64_t> shape = backbone::latents_shape(manifest, sample::video_size(work.sample));
  shape[2] = backbone::latent_frames(manifest.latents, work.sample.frames);  // without the denoiser's padding
  autoencoder.decode_to_bytes(at::zeros(shape));
  return stage("decode", run, weights, state);
}

}  // namespace jointtuner::forecast
