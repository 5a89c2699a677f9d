// The one pipeline that `sample` and the previews of a run both use.
//
//   Sampling sampling(bundle, device, options);                    // prompts encoded, the text encoder freed
//   videos = sampling.denoise(program, adapter, folder);           // every prompt with every seed, latents saved
//   sampling.decode(folder, videos);                               // mp4s, sheet.png, samples.jsonl
//
// The denoiser (`program`) can be freed before the decode. The VAE is in memory for the decode only, and before that
// for the video of a noise prior.
//
// Every video is denoised on its own, so prompts sampled together never change each other, and the same settings give
// the same bytes whether a run's preview or `sample` asks for them. The settings kept with each video (header of its
// latents, line of samples.jsonl) are one JSON object: prompt, negative_prompt, seed, steps, guidance,
// guidance_schedule, sampler, eta, frames, height, width, fps, adapter_scale, spatial_scale, temporal_scale,
// gate_pooling, adapter (null, or step, rank, scale, SHA-256 of its values), initial_latents (null, or SHA-256 of the
// file), noise_prior (null, or the video's SHA-256 and strength), backbone (path, family, name, SHA-256 of denoiser,
// autoencoder and text encoder), device (cpu or cuda).
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "jointtuner/backbone/bundle.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/sample/decode.h"
#include "jointtuner/sample/denoise.h"
#include "jointtuner/sample/options.h"

namespace jointtuner::sample {

class Sampling {
 public:
  /// Resolves and checks `options` (settings.h) before anything is loaded, then loads the text encoder, encodes the
  /// prompts and the negative one, and frees it; with a noise prior the autoencoder is loaded likewise for its video.
  /// `initial_latents`: a safetensors file with the key `latents` [1,C,F,h,w], used by every video in place of the
  /// drawn noise; "" = none. `bundle` must outlive the object. Throws UsageError and Error naming prompt or file.
  Sampling(const backbone::Bundle& bundle, at::Device device, const SampleOptions& options,
           const std::filesystem::path& initial_latents = {});

  /// Throws Error when `folder` holds videos that a sampling with this many adapters would not write under the same
  /// names.
  void check_folder(const std::filesystem::path& folder, int64_t adapters) const;

  /// Denoises every prompt with every seed, numbered from `first_number`, and saves each video's latents in `folder`
  /// (made if need be) as soon as they are done. Latents that are there already are used when all their settings are
  /// the same (so an interrupted sampling goes on where it was) and are an Error otherwise; nothing is overwritten.
  /// Throws Interrupted between two steps when Ctrl-C was pressed.
  std::vector<Video> denoise(const inject::GraphProgram& program, const NamedAdapter& named,
                             const std::filesystem::path& folder, int64_t first_number = 0);

  /// Writes samples.jsonl, loads the autoencoder, writes FOLDER/<name>.mp4 for every video and FOLDER/sheet.png (a row
  /// a prompt and seed, a column an adapter), and frees the autoencoder. Throws Interrupted between two videos when
  /// Ctrl-C was pressed.
  void decode(const std::filesystem::path& folder, const std::vector<Video>& videos) const;

  /// Replaces the advice in the message of Interrupted ("the same command goes on from there").
  void say_when_stopped(std::string advice) { advice_ = std::move(advice); }

  /// The resolved options.
  const SampleOptions& options() const { return options_; }
  /// Number of videos that one adapter gives: prompts times seeds.
  int64_t videos_per_adapter() const;

 private:
  void encode_prompts();
  void encode_prior();
  void invert_prior(const inject::GraphProgram& program, const std::filesystem::path& folder);
  Tensor starting_latents(int64_t seed) const;
  void stop_if_interrupted(const char* doing, size_t done, const std::filesystem::path& folder) const;
  std::string settings_text(const NamedAdapter& named, const std::string& adapter_sha256, const std::string& prompt,
                            int64_t seed) const;

  const backbone::Bundle* bundle_;
  at::Device device_;
  SampleOptions options_;
  std::string advice_;
  diffusion::ScheduleConstants schedule_;
  std::map<std::string, Tensor> embeddings_;  ///< prompt -> [1,L,D]
  Tensor given_latents_;                      ///< of the initial latents file, or undefined
  std::string given_sha256_;
  Tensor prior_latents_;  ///< encoded video of the noise prior, or undefined
  Tensor prior_noise_;    ///< prior_latents_ inverted, made on first use
  std::string prior_sha256_;
};

}  // namespace jointtuner::sample
