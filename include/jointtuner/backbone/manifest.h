// bundle.json as plain structs: everything that differs between backbones and is not in the TorchScript files.
#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "jointtuner/diffusion/schedule_constants.h"
#include "jointtuner/text/tokenizer.h"

namespace jointtuner::backbone {

inline constexpr int64_t kBundleVersion = 2;  // the one format version that is read

struct FileManifest {
  std::string sha256;  ///< 64 lower-case hex digits
  int64_t bytes = 0;
};

/// Linears to adapt: every Linear below a module of class `ancestor_class` whose path below that module has one of
/// `names` among its dot-separated parts. Published order: rule by rule, inside a rule in the order of Python's
/// named_modules().
struct AdapterRule {
  std::string ancestor_class;
  std::vector<std::string> names;
  std::string group;  ///< "spatial", "temporal": what a strength at sampling time is given for
  int64_t sites = 0;  ///< how many linears the rule matches; another count is an error
};

/// Position inputs that the denoiser takes from outside, so that one trace serves every size; positional.h computes
/// them. Patches are squares of `patch` latents; a model that also joins frames has patch_frames > 1.
struct NoPositional {};

/// Input positional_table: sines and cosines of (frame / temporal_scale, column / spatial_scale, row / spatial_scale).
struct Sincos3d {
  int64_t width = 0;  ///< of the model, and so of the table
  int64_t patch = 1;
  double spatial_scale = 1, temporal_scale = 1;
};

/// Inputs rope_cos and rope_sin: rotary embedding over frames, rows and columns of patches.
struct Rope3d {
  int64_t head_dim = 0;
  double theta = 10000;
  int64_t patch = 1, patch_frames = 1;
  std::string grid;  ///< "resize": other sizes are stretched over the base grid; "slice": they are cut out of it
  int64_t base_height = 0, base_width = 0;  ///< patches; with "slice" the largest size
};

using PositionalManifest = std::variant<NoPositional, Sincos3d, Rope3d>;

struct DenoiserManifest {
  std::string file;
  c10::ScalarType dtype = c10::ScalarType::Float;
  /// Roles in the order of the method's arguments: latents, timestep, prompt_embedding and what `positional` needs.
  std::vector<std::string> inputs;
  std::string layout;       ///< of latents in and prediction out: "BCFHW" or "BFCHW"
  std::string module_root;  ///< attribute of the traced wrapper that holds the diffusers model
  int64_t in_channels = 0;
  int64_t height_multiple = 1, width_multiple = 1;  ///< latent height and width are multiples of these
  int64_t frames_multiple = 1;                      ///< latent frames are padded in front to a multiple of this
  PositionalManifest positional;
  std::vector<AdapterRule> adapter_rules;
  std::string gate_init;  ///< "uniform": U(-1/sqrt(K), 1/sqrt(K)); "normal": N(0, (1/R)^2)
  /// Checkpoint segments: ECMAScript regexes, each for the full match of a module path below module_root.
  std::vector<std::string> segments;
};

/// A clip of N frames is 1 + (N - 1) / temporal_compression latent frames: N = 1 modulo temporal_compression.
struct LatentsManifest {
  int64_t channels = 0;
  int64_t spatial_compression = 1;   ///< pixels a latent, per side
  int64_t temporal_compression = 1;  ///< frames a latent frame
  double scaling_factor = 1;         ///< denoiser latents = autoencoder latents * scaling_factor
};

/// How a causal autoencoder takes a clip of N frames (latent frames when decoding): n = max(N / next, 1) chunks, of
/// which the first has N - (n - 1) * next frames, one of `first`, and all others have `next`.
struct ChunkRule {
  std::vector<int64_t> first;  ///< ascending
  int64_t next = 0;
};

struct AutoencoderManifest {
  std::string file;
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::string kind;          ///< "2d": frame by frame; "causal_3d": chunk after chunk in time, with caches
  ChunkRule encode, decode;  ///< causal_3d only
};

/// Byte-level BPE (text/clip_tokenizer.h).
struct ClipBpeManifest {
  std::string vocab, merges;  ///< files
  int64_t bos_id = 0, eos_id = 0, pad_id = 0;
  std::vector<int64_t> normalized_ids;  ///< special tokens found after normalisation too (ClipTokenizerOptions)
};

/// SentencePiece with an end token (text/sentencepiece_tokenizer.h).
struct SentencePieceManifest {
  std::string model;  ///< file
  int64_t eos_id = 0, pad_id = 0;
  std::vector<text::SpecialToken> special_tokens;  ///< recognised where they stand literally in a prompt
};

struct TextManifest {
  std::string file;
  c10::ScalarType dtype = c10::ScalarType::Float;
  int64_t max_length = 0;  ///< tokens, those added by the tokenizer included
  bool attention_mask = false;
  int64_t embedding_width = 0;
  std::variant<ClipBpeManifest, SentencePieceManifest> tokenizer;
};

/// The tokenizer's files, as listed in bundle.json.
std::vector<std::string> tokenizer_files(const TextManifest& text);

struct PreferredManifest {
  int64_t height = 0, width = 0;  ///< pixels
  int64_t frames = 0;
  double fps = 0;
  int64_t steps = 0;              ///< of sampling
  double guidance = 1;            ///< classifier-free guidance scale
  std::string guidance_schedule;  ///< "constant" or "dynamic" (diffusion/guidance.h)
};

struct Manifest {
  int64_t version = kBundleVersion;
  std::string family;        ///< "unet3d", "cogvideox"; any name is accepted: behaviour follows from the other fields
  std::string source_class;  ///< diffusers pipeline class
  std::string source_name;   ///< name of the exported folder
  std::map<std::string, FileManifest> files;
  std::map<std::string, std::string> exporter;  ///< package -> version
  DenoiserManifest denoiser;
  diffusion::ScheduleConstants schedule;
  LatentsManifest latents;
  AutoencoderManifest autoencoder;
  TextManifest text;
  PreferredManifest preferred;
};

/// Parses and checks bundle.json: every field present, of its type and in its range, no unknown field, files named by
/// the parts listed under "files". `where` is the name used in messages. Throws Error naming the field
/// (`denoiser.in_channels`), what is expected, what was found and what to do.
Manifest parse_manifest(std::string_view json_text, std::string_view where);

}  // namespace jointtuner::backbone
