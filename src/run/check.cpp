#include "jointtuner/run/check.h"

#include <c10/core/ScalarType.h>
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "jointtuner/adapter/trainable_rank.h"
#include "jointtuner/backbone/skeleton.h"
#include "jointtuner/backbone/text_encoder.h"
#include "jointtuner/base/device.h"
#include "jointtuner/config/validate.h"
#include "jointtuner/data/pixels.h"
#include "jointtuner/diffusion/prediction_type.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/run/facts.h"
#include "jointtuner/run/memory_report.h"
#include "jointtuner/run/sizes.h"
#include "jointtuner/sample/settings.h"
#include "jointtuner/text/tokenizer.h"
#include "jointtuner/train/checkpoint.h"
#include "jointtuner/train/prepare.h"

namespace jointtuner::run {
namespace {

namespace fs = std::filesystem;

class Check {
 public:
  Check(const config::RunConfig& config, Problems& problems) : config_(config), problems_(problems) {}

  std::string report(const std::string& origin) {
    attempt([&] { config::validate_for_training(config_, origin); });
    problems_.attempt([&] { parse_device(config_.run.device); });
    look_at_backbone();
    look_at_data();
    look_at_samples();
    look_at_run();
    look_at_memory();
    return std::move(text_);
  }

 private:
  template <class... Values>
  void line(fmt::format_string<Values...> format, Values&&... values) {
    text_ += fmt::format(format, std::forward<Values>(values)...) + "\n";
  }

  /// What the forecast of memory needs: with a problem here it would only meet that again.
  template <class Look>
  void attempt(Look&& look) {
    can_forecast_ = problems_.attempt(look) && can_forecast_;
  }

  void look_at_backbone() {
    if (config_.backbone.bundle.empty()) return;  // a problem of the config already
    problems_.attempt([&] { bundle_.emplace(backbone::open_for_shapes(config_.backbone.bundle)); });
    if (!bundle_) return;
    const backbone::Manifest& m = bundle_->manifest();
    line("backbone  {} ({}, {}, {} prediction), prefers {}x{}, {} frames at {:g} fps", m.source_name, m.family,
         c10::getDtypeNames(m.denoiser.dtype).first,
         diffusion::name(diffusion::parse_prediction_type(m.schedule.prediction_type)), m.preferred.width,
         m.preferred.height, m.preferred.frames, m.preferred.fps);
    if (backbone::is_skeleton(bundle_->path()))
      line("          a skeleton: shapes without weights, to forecast memory; it cannot be trained");
    attempt([&] { train::check_sizes(config_.data, m); });
    problems_.attempt([&] { tokenizer_ = backbone::tokenizer(*bundle_); });
    attempt([&] { look_at_sites(); });
  }

  void look_at_sites() {
    const inject::GraphProgram program(*bundle_, at::kCPU, {.gated = config_.adapter.gate});
    const auto& [rank, gate] = std::pair(config_.adapter.rank, config_.adapter.gate);
    adapter::check_trainable_rank(program.sites(), rank);
    const adapter::AdapterSet adapters(program.sites(), rank, gate, at::kCPU);
    line("adapters  rank {}, {}, {} sites, {} parameters", rank,
         gate ? "gated by " + config_.adapter.gate_pooling : std::string("plain LoRA"), adapters.size(),
         grouped(adapters.parameters()));
    for (const Json& row : site_facts(program.sites(), rank, gate))
      line("          {:<10} {:>4} sites, {} parameters", row["group"].get<std::string>(), row["sites"].get<int64_t>(),
           grouped(row["parameters"].get<int64_t>()));
  }

  /// "12 of 77 tokens"; more than fit is a problem.
  std::string tokens(const std::string& what, const std::string& caption) {
    if (!tokenizer_) return "tokens not counted";
    int64_t count = 0;
    if (!problems_.attempt([&] { count = static_cast<int64_t>(tokenizer_->encode(caption).size()); }))
      return "no tokens";
    const int64_t most = bundle_->manifest().text.max_length;
    if (count > most)
      problems_.add(
          fmt::format("{}: has {} tokens, the text encoder takes {}; shorten it: \"{}\"", what, count, most, caption));
    return fmt::format("{} of {} tokens", count, most);
  }

  void look_at_data() {
    line("data      {}x{}, {} frames at {:g} fps, resize {}", config_.data.width, config_.data.height,
         config_.data.frames, config_.data.fps, config_.data.resize);
    for (const data::SourceOptions& source : config_.data.images) look_at_source(source, data::Kind::image);
    for (const data::SourceOptions& source : config_.data.videos) look_at_source(source, data::Kind::video);
  }

  /// Each source alone and with its bad files skipped, so that one problem does not hide the next.
  void look_at_source(const data::SourceOptions& source, data::Kind kind) {
    data::DataOptions options = config_.data;
    options.images.clear();
    options.videos.clear();
    (kind == data::Kind::image ? options.images : options.videos) = {source};
    options.on_bad_item = "skip";
    data::Listing listing;
    problems_.attempt([&] { listing = data::list_items(options); });
    for (const data::Item& item : listing.items) problems_.attempt([&] { look_at_item(item, options); });
    for (const data::Skipped& skipped : listing.skipped) {
      const std::string reason = skipped.reason.starts_with(skipped.path.string())
                                     ? skipped.reason
                                     : fmt::format("{}: {}", skipped.path.string(), skipped.reason);
      line("skipped   {}", reason);
      if (config_.data.on_bad_item == "error") problems_.add(reason);
    }
  }

  void look_at_item(const data::Item& item, const data::DataOptions& options) {
    const data::ItemUse use = data::use_of(item, options);
    const bool video = item.kind == data::Kind::video;
    line("{}   {}", video ? "clip   " : "picture", item.path.string());
    line("          \"{}\" ({})", item.caption, tokens(item.path.string(), item.caption));
    line("          {}x{}{}; {}x{} of it at ({}, {}) becomes {}x{}", item.source_size.width_px,
         item.source_size.height_px, video ? fmt::format(", {:.2f} s", item.duration_s) : "", use.crop.width_px,
         use.crop.height_px, use.crop.left_px, use.crop.top_px, use.fitted.width_px, use.fitted.height_px);
    for (const data::ClipUse& clip : use.clips) {
      if (clip.times_s.empty()) continue;
      std::string times;
      for (const double time : clip.times_s) times += fmt::format(" {:.3f}", time);
      line("          from {:.3f} s, frames at{}", clip.start_s, times);
    }
  }

  void look_at_samples() {
    for (const std::string& prompt : config_.sample.prompts)
      line("prompt    \"{}\" ({})", prompt, tokens("sample.prompts", prompt));
    if (!config_.sample.negative_prompt.empty()) tokens("sample.negative_prompt", config_.sample.negative_prompt);
    if (!bundle_ || config_.sample.prompts.empty()) return;
    attempt([&] {
      const auto options = sample::resolved(with_sizes(config_.sample, config_.data), bundle_->manifest());
      line("samples   {} prompts x {} seeds, {}x{}, {} frames, {} {} steps, guidance {:g} ({}){}",
           options.prompts.size(), options.seeds.size(), options.width, options.height, options.frames, options.steps,
           options.sampler, options.guidance, options.guidance_schedule,
           config_.preview.every > 0 ? fmt::format(", previewed every {} steps", config_.preview.every) : "");
    });
  }

  void look_at_run() {
    const fs::path folder = fs::path(config_.run.output) / config_.run.name;
    const auto checkpoints = train::list_checkpoints(folder / "checkpoints");
    line("run       {} on {}, {} steps{}", folder.string(), config_.run.device, config_.train.steps,
         checkpoints.empty()
             ? ""
             : fmt::format("; it has checkpoints up to step {}: go on with --resume", checkpoints.rbegin()->first));
  }

  void look_at_memory() {
    if (bundle_ && can_forecast_) problems_.attempt([&] { text_ += memory_report(config_, *bundle_, problems_); });
  }

  const config::RunConfig& config_;
  Problems& problems_;
  std::string text_;
  bool can_forecast_ = true;
  std::optional<backbone::Bundle> bundle_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace

std::string check_report(const config::RunConfig& config, const std::string& origin, Problems& problems) {
  return Check(config, problems).report(origin);
}

}  // namespace jointtuner::run
