#include "jointtuner/run/facts.h"

#include <c10/core/ScalarType.h>
#include <fmt/format.h>

#include <algorithm>

namespace jointtuner::run {
namespace {

std::string use_text(const data::Item& item, const data::DataOptions& options) {
  const std::string size = fmt::format("{}x{}", options.width, options.height);
  if (item.kind == data::Kind::image) return size;
  std::string starts;
  for (const double start : item.clip_starts_s) starts += fmt::format("{}{:.2f}", starts.empty() ? "" : ", ", start);
  return fmt::format("{}, {} frames at {:g} fps from {} s", size, options.frames, options.fps, starts);
}

}  // namespace

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

Json backbone_facts(const backbone::Bundle& bundle) {
  const backbone::Manifest& m = bundle.manifest();
  return {{"name", m.source_name},
          {"family", m.family},
          {"exported from", m.source_class},
          {"dtype", c10::getDtypeNames(m.denoiser.dtype).first},
          {"prediction", m.schedule.prediction_type},
          {"sampler", m.schedule.default_sampler},
          {"preferred", fmt::format("{}x{}, {} frames at {:g} fps, {} steps, guidance {:g} ({})", m.preferred.width,
                                    m.preferred.height, m.preferred.frames, m.preferred.fps, m.preferred.steps,
                                    m.preferred.guidance, m.preferred.guidance_schedule)},
          {"denoiser_sha256", bundle.sha256(m.denoiser.file)},
          {"path", std::filesystem::weakly_canonical(bundle.path()).string()}};
}

int64_t parameters(const adapter::Site& site, int64_t rank, bool gated) {
  return rank * (site.in_features + site.out_features) + (gated ? site.in_features : 0);
}

Json site_facts(const std::vector<adapter::Site>& sites, int64_t rank, bool gated) {
  Json rows = Json::array();
  for (const adapter::Site& site : sites) {
    auto row = std::find_if(rows.begin(), rows.end(), [&](const Json& known) { return known["group"] == site.group; });
    if (row == rows.end()) row = rows.insert(rows.end(), Json{{"group", site.group}, {"sites", 0}, {"parameters", 0}});
    (*row)["sites"] = (*row)["sites"].get<int64_t>() + 1;
    (*row)["parameters"] = (*row)["parameters"].get<int64_t>() + parameters(site, rank, gated);
  }
  return rows;
}

Json item_facts(const std::vector<data::Item>& items, const data::DataOptions& options) {
  Json rows = Json::array();
  for (const data::Item& item : items) {
    const bool video = item.kind == data::Kind::video;
    const std::string length = video ? fmt::format(", {:.2f} s", item.duration_s) : "";
    rows.push_back({{"kind", video ? "clip" : "picture"},
                    {"path", item.path.string()},
                    {"caption", item.caption},
                    {"size", fmt::format("{}x{}{}", item.source_size.width_px, item.source_size.height_px, length)},
                    {"use", use_text(item, options)},
                    {"content_hash", item.content_hash}});
  }
  return rows;
}

Json skipped_facts(const std::vector<data::Skipped>& skipped) {
  Json rows = Json::array();
  for (const data::Skipped& one : skipped) rows.push_back({{"path", one.path.string()}, {"reason", one.reason}});
  return rows;
}

}  // namespace jointtuner::run
