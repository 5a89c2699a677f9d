// Latents of one video on disk: `NNN_<prompt words>_s<seed>.latents.safetensors`, key `latents` [1,C,F,h,w] fp32 scaled
// as the denoiser has them, and in the header every setting that led to them. Written before anything is decoded.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace jointtuner::sample {

using at::Tensor;

struct LatentsFile {
  Tensor latents;        ///< [1,C,F,h,w] fp32; on the meta device when only the header was read
  std::string settings;  ///< JSON object, one line: see sampling.h. "" for a file of another program
};

inline constexpr std::string_view kLatentsEnding = ".latents.safetensors";

void save_latents(const std::filesystem::path& path, const LatentsFile& file);

/// Throws Error naming the file: unreadable, no tensor `latents`, not [1,C,F,h,w], not finite, or a file of ours whose
/// settings are damaged.
LatentsFile load_latents(const std::filesystem::path& path);

/// The header alone: the tensor has a shape but no data.
LatentsFile load_latents_header(const std::filesystem::path& path);

/// `NNN_<prompt words>_s<seed>`: number with three digits; the prompt's first words in lower-case ASCII letters and
/// digits joined by "_", at most 40 characters ("prompt" when nothing is left).
std::string video_name(int64_t number, std::string_view prompt, int64_t seed);

}  // namespace jointtuner::sample
