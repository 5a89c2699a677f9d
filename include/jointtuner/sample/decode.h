// The last stage, latents to a video, as it can be repeated alone, and the list of a folder's samples.
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
  std::string settings;  ///< JSON object, see sampling.h
};

/// Writes FOLDER/samples.jsonl, a line a video: {"file", "latents", "label", its settings} and, for the videos that are
/// decoded, "decode_tile": the side in pixels of the tiles, 0 for whole frames. More memory than there is makes it
/// smaller than what was asked for.
void write_sample_list(const std::filesystem::path& folder, const std::vector<Video>& videos,
                       const std::vector<int64_t>& decode_tiles = {});

/// How a decoded video is written.
enum class VideoFormat {
  mp4,     ///< x.mp4: H.264, lossy
  gif,     ///< x.gif: at most 50 frames per second
  frames,  ///< a name without extension: a new folder of lossless PNG files 0000.png, 0001.png, ...
};

/// The format that the name `output` asks for; throws UsageError for another extension.
VideoFormat video_format(const std::filesystem::path& output);

/// Decodes one latents file to `output`, written as video_format(output) says. options: decode_slice, decode_tile; fps
/// (0: the file's own, else what the bundle prefers). Throws, before anything is decoded: UsageError when `output` has
/// another extension, asks for more frames per second than its format has, or is a folder that exists already; Error
/// when the latents were made for another autoencoder or do not fit this one.
void decode_latents_file(const backbone::Bundle& bundle, at::Device device, const std::filesystem::path& latents,
                         const std::filesystem::path& output, const SampleOptions& options);

}  // namespace jointtuner::sample
