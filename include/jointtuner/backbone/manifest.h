// bundle.json as plain structs: everything that differs between backbones and is not in the TorchScript files.
#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "jointtuner/diffusion/schedule_constants.h"

namespace jointtuner::backbone {

inline constexpr int64_t kBundleVersion = 1;  // the one format version that is read

struct FileManifest {
  std::string sha256;  // 64 lower-case hex digits
  int64_t bytes = 0;
};

// Linears to adapt: every Linear below a module of class `ancestor_class` whose path below that module has one of
// `names` among its dot-separated parts. Published order: rule by rule, inside a rule in the order of Python's
// named_modules().
struct AdapterRule {
  std::string ancestor_class;
  std::vector<std::string> names;
  std::string group;  // "spatial", "temporal": what a strength at sampling time is given for
  int64_t sites = 0;  // how many linears the rule matches; another count is an error
};

struct DenoiserManifest {
  std::string file;
  std::vector<std::string> inputs;  // roles in the order of the method's arguments: latents, timestep, prompt_embedding
  std::string layout;               // "BCFHW"
  std::string module_root;          // attribute of the traced wrapper that holds the diffusers model
  int64_t in_channels = 0;
  int64_t height_multiple = 1, width_multiple = 1;  // latent height and width are multiples of these
  int64_t frames_minimum = 1, frames_multiple = 1,
          frames_remainder = 0;  // latent frames F: F >= minimum, F % multiple == remainder
  std::vector<AdapterRule> adapter_rules;
  std::string gate_init;  // "uniform": U(-1/sqrt(K), 1/sqrt(K)); "normal": N(0, (1/R)^2)
  std::vector<std::string>
      segments;  // ECMAScript regexes, full match of a module path below module_root: checkpoint segments
};

struct LatentsManifest {
  int64_t channels = 0;
  int64_t spatial_compression = 1;   // pixels a latent, per side
  int64_t temporal_compression = 1;  // frames a latent frame
  double scaling_factor = 1;         // denoiser latents = autoencoder latents * scaling_factor
};

struct AutoencoderManifest {
  std::string file;
  std::string kind;  // "2d": frame by frame
};

struct TextManifest {
  std::string file;
  std::string tokenizer;  // "clip_bpe"
  std::string vocab, merges;
  int64_t max_length = 0;  // tokens, bos and eos included
  int64_t bos_id = 0, eos_id = 0, pad_id = 0;
  std::vector<int64_t>
      normalized_ids;  // special tokens found after normalisation too (ClipTokenizerOptions); [] if not stated
  bool attention_mask = false;
  int64_t embedding_width = 0;
};

struct PreferredManifest {
  int64_t height = 0, width = 0;  // pixels
  int64_t frames = 0;
  double fps = 0;
};

struct Manifest {
  int64_t version = kBundleVersion;
  std::string family;        // "unet3d"; any name is accepted: behaviour follows from the other fields
  std::string source_class;  // diffusers pipeline class
  std::string source_name;   // name of the exported folder
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::map<std::string, FileManifest> files;
  std::map<std::string, std::string> exporter;  // package -> version
  DenoiserManifest denoiser;
  diffusion::ScheduleConstants schedule;
  LatentsManifest latents;
  AutoencoderManifest autoencoder;
  TextManifest text;
  PreferredManifest preferred;
};

// Parses and checks bundle.json: every field present, of its type and in its range, no unknown field, files named by
// the parts listed under "files". `where` is the name used in messages. Throws Error naming the field
// (`denoiser.in_channels`), what is expected, what was found and what to do.
Manifest parse_manifest(std::string_view json_text, std::string_view where);

}  // namespace jointtuner::backbone
