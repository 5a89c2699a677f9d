#include "jointtuner/sample/sampling.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/backbone/text_encoder.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/interrupt.h"
#include "jointtuner/base/log.h"
#include "jointtuner/base/pixels.h"
#include "jointtuner/base/progress.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/base/sha256.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/diffusion/sampler.h"
#include "jointtuner/media/video_reader.h"
#include "jointtuner/sample/latents_file.h"
#include "jointtuner/sample/settings.h"

namespace jointtuner::sample {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// SHA-256 of the adapters' values, so that equal adapters have equal settings wherever they come from.
std::string values_sha256(const adapter::AdapterSet* adapters) {
  if (adapters == nullptr) return "";
  const Tensor values = adapters->flat().detach().to(at::kCPU).contiguous();
  return sha256_hex({static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
}

/// "steps 20 there, 30 here; ..." for every setting that differs.
std::string differences(const std::string& there, const std::string& here) {
  const auto found = ordered_json::parse(there, nullptr, false), expected = ordered_json::parse(here);
  if (!found.is_object()) return "it does not say with which settings it was made";
  std::string out;
  for (const auto& [key, value] : expected.items())
    if (const auto other = found.value(key, ordered_json()); other != value)
      out += fmt::format("{}{} {} there, {} here", out.empty() ? "" : "; ", key, other.dump(), value.dump());
  return out.empty() ? "it has settings of another version" : out;
}

/// Throws when latents under this name come from other settings; true when they can be used.
bool already_made(const fs::path& path, const std::string& settings) {
  if (!fs::exists(path)) return false;
  const std::string found = load_latents_header(path).settings;
  if (found == settings) return true;
  throw Error(
      fmt::format("{}: was made with other settings and is not overwritten ({}); choose another --output folder, or "
                  "remove the file",
                  path.string(), differences(found, settings)));
}

bool is_numbered(const std::string& name) {
  size_t digits = 0;
  while (digits < name.size() && std::isdigit(static_cast<unsigned char>(name[digits]))) ++digits;
  return digits >= 3 && digits < name.size() && name[digits] == '_';
}

}  // namespace

Sampling::Sampling(const backbone::Bundle& bundle, at::Device device, const SampleOptions& options,
                   const fs::path& initial_latents)
    : bundle_(&bundle),
      device_(device),
      options_(resolved(options, bundle.manifest())),
      schedule_(bundle.manifest().schedule) {
  const std::vector<int64_t> shape = backbone::latents_shape(bundle.manifest(), video_size(options_));
  if (!initial_latents.empty()) {
    given_latents_ = load_latents(initial_latents).latents;
    check_shape(given_latents_, {1, shape[1], shape[2], shape[3], shape[4]},
                fmt::format("{}: latents for {} frames of {}x{} px", initial_latents.string(), options_.frames,
                            options_.width, options_.height));
    given_sha256_ = sha256_file(initial_latents);
  }
  if (!options_.noise_prior_video.empty() && options_.noise_prior_strength > 0) encode_prior();
  encode_prompts();
}

void Sampling::encode_prompts() {
  const backbone::TextEncoder encoder(*bundle_, device_);
  std::set<std::string> prompts(options_.prompts.begin(), options_.prompts.end());
  if (diffusion::needs_unconditional(options_.guidance)) prompts.insert(options_.negative_prompt);
  if (prior_latents_.defined()) prompts.insert("");
  for (const std::string& prompt : prompts) embeddings_[prompt] = encoder.encode(prompt);
}

void Sampling::encode_prior() {
  const media::ClipRequest request{.start_s = 0,
                                   .fps = options_.fps,
                                   .frames = options_.frames,
                                   .size = media::Size{options_.height, options_.width},
                                   .fit = media::Fit::cover};
  const Tensor frames = media::read_clip(options_.noise_prior_video, request);  // [F,H,W,3]
  const backbone::Autoencoder autoencoder(*bundle_, device_, {.slice_frames = options_.decode_slice, .tile_px = 0});
  const Tensor mean = autoencoder.encode(to_pixels(frames)).mean;  // [F,C,h,w]
  const Tensor latents = mean.permute({1, 0, 2, 3}).unsqueeze(0).mul(bundle_->manifest().latents.scaling_factor);
  prior_latents_ = backbone::padded_frames(latents, bundle_->manifest().denoiser.frames_multiple).contiguous();
  prior_sha256_ = sha256_file(options_.noise_prior_video);
}

void Sampling::invert_prior(const inject::GraphProgram& program, const fs::path& folder) {
  if (!prior_latents_.defined() || prior_noise_.defined()) return;
  Progress progress("inverting the noise prior's video", options_.steps);
  const NamedAdapter frozen;
  prior_noise_ = inverted_latents({program, device_, schedule_, frozen}, prior_latents_, embeddings_.at(""), options_,
                                  [&](int64_t done) {
                                    stop_if_interrupted("inverting the noise prior's video", 0, folder);
                                    progress.update(done);
                                  });
}

Tensor Sampling::starting_latents(int64_t seed) const {
  const Tensor noise = given_latents_.defined()
                           ? given_latents_
                           : initial_noise(backbone::latents_shape(bundle_->manifest(), video_size(options_)), seed);
  return prior_noise_.defined() ? diffusion::noise_prior(prior_noise_, noise, options_.noise_prior_strength) : noise;
}

void Sampling::stop_if_interrupted(const char* doing, size_t done, const fs::path& folder) const {
  if (!interrupt_requested()) return;
  const std::string kept = fmt::format(
      "The finished latents are kept in {0}: the same command with --output {0} goes on from there", folder.string());
  throw Interrupted(fmt::format("stopped while {}, {} videos done. {}", doing, done, advice_.empty() ? kept : advice_));
}

int64_t Sampling::videos_per_adapter() const {
  return static_cast<int64_t>(options_.prompts.size() * options_.seeds.size());
}

void Sampling::check_folder(const fs::path& folder, int64_t adapters) const {
  if (!fs::exists(folder)) return;
  if (!fs::is_directory(folder))
    throw Error(fmt::format("{}: expected a folder for the videos, found a file", folder.string()));
  std::set<std::string> planned;
  for (int64_t number = 0; number < adapters * videos_per_adapter();)
    for (const std::string& prompt : options_.prompts)
      for (const int64_t seed : options_.seeds) planned.insert(video_name(number++, prompt, seed));
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (is_numbered(name) && !planned.contains(name.substr(0, name.find('.'))))
      throw Error(fmt::format(
          "{}: belongs to another sampling; choose another --output folder than {}, so that nothing is mixed",
          entry.path().string(), folder.string()));
  }
}

std::vector<Video> Sampling::denoise(const inject::GraphProgram& program, const NamedAdapter& named,
                                     const fs::path& folder, int64_t first_number) {
  make_folder(folder);
  remove_leftovers(folder);
  invert_prior(program, folder);
  const std::string adapter_sha256 = values_sha256(named.adapters);
  const int64_t total = videos_per_adapter();
  Progress progress(fmt::format("sampling {}", named.label), total * options_.steps);
  std::vector<Video> videos;
  for (const std::string& prompt : options_.prompts) {
    for (const int64_t seed : options_.seeds) {
      const auto done = static_cast<int64_t>(videos.size());
      stop_if_interrupted("sampling", videos.size(), folder);
      Video video{video_name(first_number + done, prompt, seed), named.label, prompt, seed,
                  settings_text(named, adapter_sha256, prompt, seed)};
      const fs::path path = folder / (video.name + std::string(kLatentsEnding));
      if (already_made(path, video.settings)) {
        log_info(fmt::format("{}: kept, all its settings are the same", path.string()));
      } else {
        const bool guided = diffusion::needs_unconditional(options_.guidance);
        const Tensor negative = guided ? embeddings_.at(options_.negative_prompt) : Tensor();
        const DenoiseInputs inputs{starting_latents(seed), embeddings_.at(prompt), negative, seed};
        const Tensor latents =
            sample::denoise({program, device_, schedule_, named}, inputs, options_, [&](int64_t step) {
              stop_if_interrupted("sampling", videos.size(), folder);
              progress.update(done * options_.steps + step, fmt::format("video {} of {}", done + 1, total));
            });
        const int64_t frames = backbone::latent_frames(bundle_->manifest().latents, options_.frames);
        save_latents(path, {backbone::without_padding(latents, frames).contiguous(), video.settings});
      }
      videos.push_back(std::move(video));
    }
  }
  return videos;
}

std::string Sampling::settings_text(const NamedAdapter& named, const std::string& adapter_sha256,
                                    const std::string& prompt, int64_t seed) const {
  const SampleOptions& o = options_;
  const backbone::Manifest& manifest = bundle_->manifest();
  ordered_json settings{{"prompt", prompt},       {"negative_prompt", o.negative_prompt},
                        {"seed", seed},           {"steps", o.steps},
                        {"guidance", o.guidance}, {"guidance_schedule", o.guidance_schedule},
                        {"sampler", o.sampler},   {"eta", o.eta},
                        {"frames", o.frames},     {"height", o.height},
                        {"width", o.width},       {"fps", o.fps}};
  settings["adapter"] = nullptr;
  if (named.adapters != nullptr) {
    const bool as_trained = o.gate_pooling.empty();
    settings["adapter_scale"] = o.adapter_scale;
    settings["spatial_scale"] = o.spatial_scale;
    settings["temporal_scale"] = o.temporal_scale;
    settings["gate_pooling"] = as_trained ? adapter::gate_pooling_text(named.metadata.gate_pooling) : o.gate_pooling;
    settings["adapter"] = {{"step", named.metadata.step},
                           {"rank", named.adapters->rank()},
                           {"scale", named.metadata.scale},
                           {"values_sha256", adapter_sha256}};
  }
  settings["initial_latents"] = nullptr;
  if (given_latents_.defined()) settings["initial_latents"] = {{"sha256", given_sha256_}};
  settings["noise_prior"] = nullptr;
  if (prior_latents_.defined())
    settings["noise_prior"] = {{"video_sha256", prior_sha256_}, {"strength", o.noise_prior_strength}};
  settings["backbone"] = {{"path", fs::weakly_canonical(bundle_->path()).string()},
                          {"family", manifest.family},
                          {"name", manifest.source_name},
                          {"denoiser_sha256", bundle_->sha256(manifest.denoiser.file)},
                          {"autoencoder_sha256", bundle_->sha256(manifest.autoencoder.file)},
                          {"text_encoder_sha256", bundle_->sha256(manifest.text.file)}};
  settings["device"] = c10::DeviceTypeName(device_.type(), /*lower_case=*/true);
  return settings.dump();
}

}  // namespace jointtuner::sample
