#include "jointtuner/backbone/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <regex>

#include "jointtuner/base/error.h"
#include "manifest_object.h"

namespace jointtuner::backbone {

namespace {

using nlohmann::json;

constexpr int64_t kLarge = int64_t{1} << 40;

bool is_safe_name(const std::string& name) {
  static const std::regex pattern(R"([A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*)");
  return std::regex_match(name, pattern);
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::map<std::string, FileManifest> parse_files(ManifestObject files) {
  std::map<std::string, FileManifest> result;
  for (const std::string& name : files.names()) {
    ManifestObject file = files.object(name);
    FileManifest entry{file.text("sha256"), file.integer("bytes", 0, kLarge)};
    file.finish();
    if (!is_safe_name(name)) files.fail(files.path_of(name), "a file inside the bundle's folder", name);
    if (!is_sha256(entry.sha256)) file.fail(file.path_of("sha256"), "64 hexadecimal digits", entry.sha256);
    result.emplace(name, std::move(entry));
  }
  return result;
}

AdapterRule parse_rule(ManifestObject rule) {
  AdapterRule result{rule.text("ancestor_class"), rule.texts("names"), rule.text("group"),
                     rule.integer("sites", 1, 1000000)};
  rule.finish();
  return result;
}

c10::ScalarType parse_dtype(ManifestObject& part) {
  const std::string text = part.text("dtype", {"float32", "float16", "bfloat16"});
  if (text == "float16") return c10::ScalarType::Half;
  return text == "bfloat16" ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
}

PositionalManifest parse_positional(ManifestObject positional) {
  const std::string kind = positional.text("kind", {"none", "sincos_3d", "rope_3d"});
  PositionalManifest result = NoPositional{};
  if (kind == "sincos_3d") {
    result = Sincos3d{positional.integer("width", 16, 1000000), positional.integer("patch", 1, 64),
                      positional.number("spatial_scale", 0, 1e6), positional.number("temporal_scale", 0, 1e6)};
  } else if (kind == "rope_3d") {
    result = Rope3d{positional.integer("head_dim", 8, 65536),     positional.number("theta", 1, 1e12),
                    positional.integer("patch", 1, 64),           positional.integer("patch_frames", 1, 64),
                    positional.text("grid", {"resize", "slice"}), positional.integer("base_height", 1, 100000),
                    positional.integer("base_width", 1, 100000)};
  }
  positional.finish();
  return result;
}

/// The inputs that a denoiser with these positions takes.
std::vector<std::string> roles_of(const PositionalManifest& positional) {
  std::vector<std::string> roles = {"latents", "timestep", "prompt_embedding"};
  if (std::holds_alternative<Sincos3d>(positional)) roles.push_back("positional_table");
  if (std::holds_alternative<Rope3d>(positional)) roles.insert(roles.end(), {"rope_cos", "rope_sin"});
  return roles;
}

void check_inputs(const ManifestObject& denoiser, const DenoiserManifest& manifest) {
  static const std::vector<std::string> known = {"latents",          "timestep", "prompt_embedding",
                                                 "positional_table", "rope_cos", "rope_sin"};
  for (const std::string& input : manifest.inputs)
    if (std::find(known.begin(), known.end(), input) == known.end())
      throw Error(
          fmt::format("{}: `{}`: unknown input role `{}`; this version knows {}. The bundle needs a newer jointtuner.",
                      denoiser.where(), denoiser.path_of("inputs"), input, fmt::join(known, ", ")));
  auto sorted = manifest.inputs, wanted = roles_of(manifest.positional);
  std::sort(sorted.begin(), sorted.end());
  std::sort(wanted.begin(), wanted.end());
  if (sorted != wanted)
    denoiser.fail(denoiser.path_of("inputs"),
                  fmt::format("each of {} once", fmt::join(roles_of(manifest.positional), ", ")), manifest.inputs);
}

DenoiserManifest parse_denoiser(ManifestObject denoiser) {
  DenoiserManifest result;
  result.file = denoiser.text("file");
  result.dtype = parse_dtype(denoiser);
  result.inputs = denoiser.texts("inputs");
  result.positional = parse_positional(denoiser.object("positional"));
  check_inputs(denoiser, result);
  result.layout = denoiser.text("layout", {"BCFHW", "BFCHW"});
  result.module_root = denoiser.text("module_root");
  result.in_channels = denoiser.integer("in_channels", 1, 4096);
  result.height_multiple = denoiser.integer("height_multiple", 1, 4096);
  result.width_multiple = denoiser.integer("width_multiple", 1, 4096);
  result.frames_multiple = denoiser.integer("frames_multiple", 1, 4096);
  const json& rules = denoiser.list("adapter_rules");
  for (size_t i = 0; i < rules.size(); ++i) {
    const std::string path = fmt::format("{}[{}]", denoiser.path_of("adapter_rules"), i);
    result.adapter_rules.push_back(parse_rule(ManifestObject(rules[i], denoiser.where(), path)));
  }
  result.gate_init = denoiser.text("gate_init", {"uniform", "normal"});
  result.segments = denoiser.texts("segments");
  for (const std::string& pattern : result.segments) {
    try {
      std::regex{pattern};
    } catch (const std::regex_error& error) {
      denoiser.fail(denoiser.path_of("segments"), fmt::format("regular expressions ({})", error.what()), pattern);
    }
  }
  denoiser.finish();
  return result;
}

diffusion::ScheduleConstants parse_schedule(ManifestObject schedule) {
  diffusion::ScheduleConstants result;
  result.train_timesteps = schedule.integer("train_timesteps", 1, 1000000);
  result.beta_schedule = schedule.text("beta_schedule", {"linear", "scaled_linear", "squaredcos_cap_v2"});
  result.beta_start = schedule.number("beta_start", 0, 1);
  result.beta_end = schedule.number("beta_end", 0, 1);
  result.prediction_type = schedule.text("prediction_type", {"epsilon", "v_prediction", "sample"});
  result.rescale_zero_snr = schedule.truth("rescale_zero_snr");
  result.snr_shift = schedule.number("snr_shift", 0, 1000);
  result.timestep_spacing = schedule.text("timestep_spacing", {"leading", "trailing", "linspace"});
  result.steps_offset = schedule.integer("steps_offset", 0, result.train_timesteps);
  result.final_alpha_one = schedule.truth("final_alpha_one");
  result.clip_sample = schedule.truth("clip_sample");
  result.clip_sample_range = schedule.number("clip_sample_range", 0, 1e6);
  result.default_sampler = schedule.text("default_sampler", {"ddim", "dpmpp_2m", "dpmpp_2m_sde"});
  schedule.finish();
  return result;
}

LatentsManifest parse_latents(ManifestObject latents) {
  LatentsManifest result;
  result.channels = latents.integer("channels", 1, 4096);
  result.spatial_compression = latents.integer("spatial_compression", 1, 1024);
  result.temporal_compression = latents.integer("temporal_compression", 1, 1024);
  result.scaling_factor = latents.number("scaling_factor", 0, 1e6);
  latents.finish();
  return result;
}

ChunkRule parse_chunks(ManifestObject chunks) {
  ChunkRule result{chunks.integers("first", 1, 4096), chunks.integer("next", 1, 4096)};
  if (result.first.empty() || !std::is_sorted(result.first.begin(), result.first.end(), std::less_equal<>()))
    chunks.fail(chunks.path_of("first"), "an ascending list that is not empty", result.first);
  chunks.finish();
  return result;
}

AutoencoderManifest parse_autoencoder(ManifestObject autoencoder) {
  AutoencoderManifest result;
  result.file = autoencoder.text("file");
  result.dtype = parse_dtype(autoencoder);
  result.kind = autoencoder.text("kind", {"2d", "causal_3d"});
  if (result.kind == "causal_3d") {
    result.encode = parse_chunks(autoencoder.object("encode"));
    result.decode = parse_chunks(autoencoder.object("decode"));
  }
  autoencoder.finish();
  return result;
}

constexpr int64_t kLargestId = 10000000;

ClipBpeManifest parse_clip_bpe(ManifestObject& tokenizer) {
  return {tokenizer.text("vocab"),
          tokenizer.text("merges"),
          tokenizer.integer("bos_id", 0, kLargestId),
          tokenizer.integer("eos_id", 0, kLargestId),
          tokenizer.integer("pad_id", 0, kLargestId),
          tokenizer.integers("normalized_ids", 0, kLargestId)};
}

SentencePieceManifest parse_sentencepiece(ManifestObject& tokenizer) {
  SentencePieceManifest result{tokenizer.text("model"),
                               tokenizer.integer("eos_id", 0, kLargestId),
                               tokenizer.integer("pad_id", 0, kLargestId),
                               {}};
  const json& tokens = tokenizer.list("special_tokens");
  for (size_t i = 0; i < tokens.size(); ++i) {
    ManifestObject token(tokens[i], tokenizer.where(), fmt::format("{}[{}]", tokenizer.path_of("special_tokens"), i));
    result.special_tokens.push_back({token.text("text"), token.integer("id", 0, kLargestId), token.truth("strip")});
    token.finish();
  }
  return result;
}

TextManifest parse_text(ManifestObject text) {
  TextManifest result;
  result.file = text.text("file");
  result.dtype = parse_dtype(text);
  result.max_length = text.integer("max_length", 3, 100000);
  result.attention_mask = text.truth("attention_mask");
  if (result.attention_mask)
    text.fail(text.path_of("attention_mask"), "false (masks are not supported in this version)", true);
  result.embedding_width = text.integer("embedding_width", 1, 1000000);
  ManifestObject tokenizer = text.object("tokenizer");
  if (tokenizer.text("kind", {"clip_bpe", "sentencepiece"}) == "clip_bpe")
    result.tokenizer = parse_clip_bpe(tokenizer);
  else
    result.tokenizer = parse_sentencepiece(tokenizer);
  tokenizer.finish();
  text.finish();
  return result;
}

PreferredManifest parse_preferred(ManifestObject preferred) {
  PreferredManifest result;
  result.height = preferred.integer("height", 1, 100000);
  result.width = preferred.integer("width", 1, 100000);
  result.frames = preferred.integer("frames", 1, 100000);
  result.fps = preferred.number("fps", 0, 1000);
  result.steps = preferred.integer("steps", 1, 1000);
  result.guidance = preferred.number("guidance", 0, 100);
  result.guidance_schedule = preferred.text("guidance_schedule", {"constant", "dynamic"});
  preferred.finish();
  return result;
}

/// Before all else, so that a bundle of another version is told by its version and not by the fields that it lacks.
void check_version(ManifestObject& bundle) {
  const std::string format = bundle.text("format");
  if (format != "jointtuner-bundle") bundle.fail("format", "\"jointtuner-bundle\"", format);
  const int64_t version = bundle.integer("version", 0, kLarge);
  if (version != kBundleVersion)
    throw Error(fmt::format(
        "{}: bundle format version {}, but this jointtuner reads version {} only. Export the bundle again with "
        "this jointtuner's scripts/export_backbone.sh{}.",
        bundle.where(), version, kBundleVersion, version > kBundleVersion ? " or use a newer jointtuner" : ""));
}

void check_consistency(const Manifest& manifest, std::string_view where) {
  std::vector<std::pair<std::string, std::string>> named = {{"denoiser.file", manifest.denoiser.file},
                                                            {"autoencoder.file", manifest.autoencoder.file},
                                                            {"text.file", manifest.text.file}};
  for (const std::string& file : tokenizer_files(manifest.text)) named.emplace_back("text.tokenizer", file);
  for (const auto& [field, file] : named) {
    if (manifest.files.count(file)) continue;
    throw Error(
        fmt::format("{}: `{}` names {}, which is not listed under `files`. {}", where, field, file, kExportAgain));
  }
  if (manifest.denoiser.in_channels != manifest.latents.channels)
    throw Error(fmt::format("{}: `denoiser.in_channels` is {} but `latents.channels` is {}; they must be equal. {}",
                            where, manifest.denoiser.in_channels, manifest.latents.channels, kExportAgain));
}

}  // namespace

std::vector<std::string> tokenizer_files(const TextManifest& text) {
  if (const auto* clip = std::get_if<ClipBpeManifest>(&text.tokenizer)) return {clip->vocab, clip->merges};
  return {std::get<SentencePieceManifest>(text.tokenizer).model};
}

Manifest parse_manifest(std::string_view json_text, std::string_view where) {
  json value;
  try {
    value = json::parse(json_text);
  } catch (const json::exception& error) {
    throw Error(fmt::format("{}: not valid JSON: {}. {}", where, error.what(), kExportAgain));
  }
  ManifestObject bundle(value, std::string(where), "");
  check_version(bundle);
  Manifest result;
  result.family = bundle.text("family");
  ManifestObject source = bundle.object("source");
  result.source_class = source.text("class");
  result.source_name = source.text("name");
  source.finish();
  result.files = parse_files(bundle.object("files"));
  ManifestObject exporter = bundle.object("exporter");
  for (const std::string& package : exporter.names()) result.exporter[package] = exporter.text(package);
  result.denoiser = parse_denoiser(bundle.object("denoiser"));
  result.schedule = parse_schedule(bundle.object("schedule"));
  result.latents = parse_latents(bundle.object("latents"));
  result.autoencoder = parse_autoencoder(bundle.object("autoencoder"));
  result.text = parse_text(bundle.object("text"));
  result.preferred = parse_preferred(bundle.object("preferred"));
  bundle.finish();
  check_consistency(result, where);
  return result;
}

}  // namespace jointtuner::backbone
