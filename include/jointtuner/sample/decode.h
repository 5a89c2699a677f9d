// The last stage: latents to mp4, contact sheet and samples.jsonl. It can be repeated alone.
#pragma once
#include <c10/core/Device.h>

#include <filesystem>
#include <string>
#include <vector>

#include "jointtuner/backbone/bundle.h"
#include "jointtuner/sample/options.h"

namespace jointtuner::sample {

/// A denoised video whose latents lie in the output folder.
struct Video {
  std::string name;   ///< video_name(): FOLDER/<name>.latents.safetensors, FOLDER/<name>.mp4
  std::string label;  ///< of its adapter, e.g. "step 500"
  std::string prompt;
  int64_t seed = 0;
};

/// Loads the autoencoder, writes FOLDER/<name>.mp4 for every video, then FOLDER/sheet.png (a row a prompt and seed, a
/// column an adapter) and FOLDER/samples.jsonl (an object a video with every setting), and frees the autoencoder.
/// options: decode_slice, decode_tile.
void decode_videos(const backbone::Bundle& bundle, at::Device device, const SampleOptions& options,
                   const std::filesystem::path& folder, const std::vector<Video>& videos);

/// Decodes one latents file to `mp4` at `fps` (0: the file's own, else what the bundle prefers). Throws Error when the
/// latents were made for another autoencoder.
void decode_latents_file(const backbone::Bundle& bundle, at::Device device, const SampleOptions& options,
                         const std::filesystem::path& latents, const std::filesystem::path& mp4);

}  // namespace jointtuner::sample
