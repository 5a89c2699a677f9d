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
#include "jointtuner/run/problems.h"
#include "jointtuner/run/sizes.h"
#include "jointtuner/sample/settings.h"
#include "jointtuner/text/tokenizer.h"
#include "jointtuner/train/checkpoint.h"
#include "jointtuner/train/prepare.h"

namespace jointtuner::run {
namespace {

namespace fs = std::filesystem;

class ConfigCheck {
 public:
  explicit ConfigCheck(const config::RunConfig& config) : config_(config) {}

  Json report(const std::string& origin) {
    report_["ok"] = false;
    attempt([&] { config::validate_for_training(config_, origin); });
    problems_.attempt([&] { parse_device(config_.run.device); });
    look_at_backbone();
    look_at_data();
    look_at_samples();
    look_at_run();
    look_at_memory();
    report_["problems"] = problems_.found();
    report_["ok"] = problems_.found().empty();
    return std::move(report_);
  }

 private:
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
    const auto prediction = diffusion::parse_prediction_type(m.schedule.prediction_type);
    report_["backbone"] = {{"name", m.source_name},
                           {"family", m.family},
                           {"dtype", c10::getDtypeNames(m.denoiser.dtype).first},
                           {"prediction", diffusion::name(prediction)},
                           {"preferred",
                            {{"width", m.preferred.width},
                             {"height", m.preferred.height},
                             {"frames", m.preferred.frames},
                             {"fps", m.preferred.fps}}},
                           {"skeleton", backbone::is_skeleton(bundle_->path())}};
    attempt([&] { train::check_sizes(config_.data, m); });
    problems_.attempt([&] { tokenizer_ = backbone::tokenizer(*bundle_); });
    attempt([&] { look_at_sites(); });
  }

  void look_at_sites() {
    const auto& [rank, gate] = std::pair(config_.adapter.rank, config_.adapter.gate);
    const inject::GraphProgram program(*bundle_, at::kCPU, {.gated = gate});
    adapter::check_trainable_rank(program.sites(), rank);
    const adapter::AdapterSet adapters(program.sites(), rank, gate, at::kCPU);
    report_["adapters"] = {{"rank", rank},
                           {"gate", gate ? Json(config_.adapter.gate_pooling) : Json()},
                           {"sites", adapters.size()},
                           {"parameters", adapters.parameters()},
                           {"groups", site_facts(program.sites(), rank, gate)}};
  }

  /// Tokens of a text; more than fit, and a text that has none, are problems.
  Json tokens(const std::string& what, const std::string& text) {
    if (!tokenizer_) return nullptr;
    const int64_t most = bundle_->manifest().text.max_length;
    int64_t count = 0;
    if (!problems_.attempt([&] { count = static_cast<int64_t>(tokenizer_->encode(text).size()); }))
      return {{"count", nullptr}, {"most", most}};
    if (count > most)
      problems_.add(
          fmt::format("{}: has {} tokens, the text encoder takes {}; shorten it: \"{}\"", what, count, most, text));
    return {{"count", count}, {"most", most}};
  }

  void look_at_data() {
    const data::DataOptions& data = config_.data;
    report_["data"] = {{"width", data.width},
                       {"height", data.height},
                       {"frames", data.frames},
                       {"fps", data.fps},
                       {"resize", data.resize}};
    report_["sources"] = Json::array();
    for (const data::SourceOptions& source : data.images) look_at_source(source, data::Kind::image);
    for (const data::SourceOptions& source : data.videos) look_at_source(source, data::Kind::video);
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
    Json items = Json::array(), skipped = Json::array();
    for (const data::Item& item : listing.items) problems_.attempt([&] { items.push_back(looked_at(item, options)); });
    for (const data::Skipped& one : listing.skipped) {
      const std::string path = one.path.string();
      const std::string reason = one.reason.starts_with(path) ? one.reason : fmt::format("{}: {}", path, one.reason);
      skipped.push_back({{"path", path}, {"reason", reason}});
      if (config_.data.on_bad_item == "error") problems_.add(reason);
    }
    report_["sources"].push_back(
        {{"kind", kind == data::Kind::video ? "clip" : "picture"}, {"items", items}, {"skipped", skipped}});
  }

  Json looked_at(const data::Item& item, const data::DataOptions& options) {
    const data::ItemUse use = data::use_of(item, options);
    Json found{{"path", item.path.string()},
               {"caption", item.caption},
               {"tokens", tokens(item.path.string(), item.caption)},
               {"width", item.source_size.width_px},
               {"height", item.source_size.height_px}};
    if (item.kind == data::Kind::video) found["duration_s"] = item.duration_s;
    found["crop"] = {{"width", use.crop.width_px},
                     {"height", use.crop.height_px},
                     {"left", use.crop.left_px},
                     {"top", use.crop.top_px}};
    found["fitted"] = {{"width", use.fitted.width_px}, {"height", use.fitted.height_px}};
    found["clips"] = Json::array();
    for (const data::ClipUse& clip : use.clips)
      if (!clip.times_s.empty()) found["clips"].push_back({{"start_s", clip.start_s}, {"times_s", clip.times_s}});
    return found;
  }

  void look_at_samples() {
    const sample::SampleOptions& sample = config_.sample;
    report_["prompts"] = Json::array();
    for (const std::string& prompt : sample.prompts)
      report_["prompts"].push_back({{"prompt", prompt}, {"tokens", tokens("sample.prompts", prompt)}});
    if (!sample.negative_prompt.empty()) tokens("sample.negative_prompt", sample.negative_prompt);
    if (!bundle_ || sample.prompts.empty()) return;
    attempt([&] {
      const auto options = sample::resolved(with_sizes(sample, config_.data), bundle_->manifest());
      report_["samples"] = {{"prompts", options.prompts.size()},
                            {"seeds", options.seeds.size()},
                            {"width", options.width},
                            {"height", options.height},
                            {"frames", options.frames},
                            {"steps", options.steps},
                            {"sampler", options.sampler},
                            {"guidance", options.guidance},
                            {"guidance_schedule", options.guidance_schedule},
                            {"preview_every", config_.preview.every}};
    });
  }

  void look_at_run() {
    const fs::path folder = fs::path(config_.run.output) / config_.run.name;
    const auto checkpoints = train::list_checkpoints(folder / "checkpoints");
    report_["run"] = {{"folder", folder.string()},
                      {"device", config_.run.device},
                      {"steps", config_.train.steps},
                      {"last_checkpoint", checkpoints.empty() ? Json() : Json(checkpoints.rbegin()->first)}};
  }

  void look_at_memory() {
    if (!bundle_ || !can_forecast_) return;
    problems_.attempt([&] { report_["memory"] = memory_report(config_, *bundle_, problems_); });
  }

  const config::RunConfig& config_;
  Problems problems_;
  Json report_;
  bool can_forecast_ = true;
  std::optional<backbone::Bundle> bundle_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace

Json check_report(const config::RunConfig& config, const std::string& origin) {
  return ConfigCheck(config).report(origin);
}

}  // namespace jointtuner::run
