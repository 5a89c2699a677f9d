#include "jointtuner/report/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "html.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/json_lines.h"
#include "jointtuner/base/progress.h"
#include "report_page.h"

namespace jointtuner::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kMostPoints = 2000;  // of a curve: longer runs show means of consecutive steps
constexpr const char* kCurves[] = {"loss_image", "loss_video", "gradient_norm", "learning_rate", "mean_gate"};

/// The run folder's files, as far as they are there.
struct Run {
  fs::path folder;
  ordered_json config, facts;
  std::vector<ordered_json> metrics;
};

ordered_json object_of(const fs::path& path) {
  auto json = ordered_json::parse(read_file(path), nullptr, false);
  if (!json.is_object())
    throw Error(
        fmt::format("{}: expected a JSON object, found something else; is this a run's folder?", path.string()));
  return json;
}

Run load_run(const fs::path& folder) {
  Run run{folder, object_of(folder / "config.json"), ordered_json::object(), {}};
  if (fs::exists(folder / "facts.json")) run.facts = object_of(folder / "facts.json");
  if (!fs::exists(folder / "metrics.jsonl")) return run;
  for (ordered_json& line : json_lines(folder / "metrics.jsonl"))
    if (line.value("step", ordered_json()).is_number()) run.metrics.push_back(std::move(line));
  return run;
}

/// The value as text without quotes; lists item by item.
std::string text_of(const ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string out;
  for (const auto& item : value) out += (out.empty() ? "" : "; ") + text_of(item);
  return out;
}

std::string field_text(const ordered_json& object, const char* key) {
  return object.is_object() && object.contains(key) ? text_of(object[key]) : "";
}

/// Mean of the numbers under `key` in rows [begin, end); null when there is none.
ordered_json mean_of(const std::vector<ordered_json>& rows, size_t begin, size_t end, const char* key) {
  double sum = 0;
  int64_t count = 0;
  for (size_t i = begin; i < end; ++i) {
    const auto value = rows[i].find(key);
    if (value == rows[i].end() || !value->is_number()) continue;
    sum += value->get<double>();
    ++count;
  }
  return count == 0 ? ordered_json() : ordered_json(sum / static_cast<double>(count));
}

std::string curves_json(const std::vector<ordered_json>& rows, size_t bucket) {
  ordered_json curves;
  for (size_t begin = 0; begin < rows.size(); begin += bucket) {
    const size_t end = std::min(begin + bucket, rows.size());
    curves["step"].push_back(rows[end - 1]["step"]);
    for (const char* key : kCurves) curves[key].push_back(mean_of(rows, begin, end, key));
  }
  return curves.dump();
}

std::string figure(std::string_view value, std::string_view meaning) {
  return fmt::format("<div><b>{}</b><span>{}</span></div>", escaped(value), escaped(meaning));
}

std::string figures(const Run& run) {
  std::string out = "<div class=figures>";
  if (!run.metrics.empty()) {
    const auto& last = run.metrics.back();
    const auto number = [&](const char* key) { return mean_of(run.metrics, 0, run.metrics.size(), key); };
    const auto steps = run.config.value(ordered_json::json_pointer("/train/steps"), ordered_json());
    out += figure(fmt::format("{} of {}", last["step"].dump(), steps.dump()), "steps");
    if (const auto seconds = number("seconds"); !seconds.is_null()) {
      out += figure(duration_text(seconds.get<double>() * static_cast<double>(run.metrics.size())), "training time");
      out += figure(fmt::format("{:.3g} s", seconds.get<double>()), "a step");
    }
    if (last.value("peak_memory_bytes", ordered_json()).is_number())
      out += figure(fmt::format("{:.2f} GiB", last["peak_memory_bytes"].get<double>() / (1 << 30)), "peak memory");
  }
  if (const std::string parameters = field_text(run.facts, "parameters"); !parameters.empty())
    out += figure(parameters, "trained parameters");
  if (run.facts.contains("items")) out += figure(std::to_string(run.facts["items"].size()), "pictures and clips");
  return out + "</div>\n";
}

std::string chart(const char* curve, const char* title, const char* color, bool smoothed = true) {
  return fmt::format(
      "<figure class=chart data-curve={} data-color={}{}><figcaption>{}<output></output></figcaption>"
      "<svg role=img aria-label=\"{}\"></svg></figure>\n",
      curve, color, smoothed ? "" : " data-plain", title, title);
}

std::string charts(const Run& run) {
  if (run.metrics.empty()) return "";
  const size_t bucket = (run.metrics.size() + kMostPoints - 1) / kMostPoints;
  std::string out = "<h2>Curves</h2>\n";
  out +=
      "<label>Smoothing <input type=range id=smoothing min=0 max=0.99 step=0.01 value=0.95> <span "
      "id=weight></span></label>\n";
  if (bucket > 1) out += fmt::format("<p class=soft>Each point is the mean of {} steps.</p>", bucket);
  out += "<div class=charts>\n";
  out += chart("loss_image", "Loss of pictures", "image") + chart("loss_video", "Loss of clips", "video");
  out += chart("gradient_norm", "Gradient norm", "other") + chart("mean_gate", "Mean gate", "other");
  out += chart("learning_rate", "Learning rate", "other", false);
  return out + "</div>\n<script type=\"application/json\" id=curves>" + script_safe(curves_json(run.metrics, bucket)) +
         "</script>\n";
}

/// Turns files into data URIs until the budget is used up.
class Embedder {
 public:
  explicit Embedder(int64_t bytes) : left_(bytes) {}
  /// "" when the file does not fit any more or is not there.
  std::string uri(const fs::path& path, std::string_view type) {
    if (!fs::is_regular_file(path)) return "";
    const auto bytes = static_cast<int64_t>(fs::file_size(path));
    if (bytes > left_) {
      ++left_out_;
      return "";
    }
    left_ -= bytes;
    return data_uri(type, read_file(path));
  }
  int64_t left_out() const { return left_out_; }

 private:
  int64_t left_;
  int64_t left_out_ = 0;
};

std::string preview_video(const fs::path& folder, const ordered_json& sample, Embedder& embedder) {
  const std::string file = field_text(sample, "file");
  const std::string uri = embedder.uri(folder / fs::path(file).filename(), "video/mp4");
  const std::string shown =
      uri.empty() ? fmt::format("<p class=soft>{}</p>", escaped(file))
                  : fmt::format("<video src=\"{}\" autoplay loop muted playsinline controls></video>", uri);
  return fmt::format("<figure>{}<figcaption>{} (seed {})</figcaption></figure>\n", shown,
                     escaped(field_text(sample, "prompt")), escaped(field_text(sample, "seed")));
}

std::string preview(const fs::path& folder, bool open, Embedder& embedder) {
  const std::string name = folder.filename().string();
  const size_t digits = name.find_first_of("123456789");
  std::string out = fmt::format("<details{}><summary>Step {}</summary>\n", open ? " open" : "",
                                escaped(digits == std::string::npos ? name : name.substr(digits)));
  if (fs::exists(folder / "samples.jsonl")) {
    out += "<div class=videos>\n";
    for (const ordered_json& sample : json_lines(folder / "samples.jsonl"))
      out += preview_video(folder, sample, embedder);
    out += "</div>\n";
  }
  if (const std::string sheet = embedder.uri(folder / "sheet.png", "image/png"); !sheet.empty())
    out += fmt::format("<img class=sheet src=\"{}\" alt=\"contact sheet of {}\">\n", sheet, escaped(name));
  return out + "</details>\n";
}

std::string previews(const Run& run, const ReportLimits& limits) {
  std::vector<fs::path> folders;
  if (fs::is_directory(run.folder / "previews"))
    for (const auto& entry : fs::directory_iterator(run.folder / "previews"))
      if (entry.is_directory() && entry.path().filename().string().starts_with("step_") &&
          !entry.path().has_extension())
        folders.push_back(entry.path());
  if (folders.empty()) return "";
  std::sort(folders.rbegin(), folders.rend());
  Embedder embedder(limits.embedded_bytes);
  std::string out = "<h2>Previews</h2>\n";
  for (const fs::path& folder : folders) out += preview(folder, folder == folders.front(), embedder);
  if (embedder.left_out() > 0)
    out += fmt::format(
        "<p class=soft>{} files are not embedded, to keep this page below {} MiB; they are in the run's folder "
        "previews.</p>\n",
        embedder.left_out(), limits.embedded_bytes >> 20);
  return out;
}

/// A row a field of `object`, but for those named in `left_out`.
std::string fields_table(const ordered_json& object, const std::set<std::string>& left_out = {}) {
  std::string out = "<table>";
  for (const auto& [key, value] : object.items())
    if (!left_out.contains(key))
      out += fmt::format("<tr><td>{}</td><td>{}</td></tr>", escaped(key), escaped(text_of(value)));
  return out + "</table>";
}

std::string settings(const Run& run) {
  std::string out = "<h2>Settings</h2>\n<div class=sections>\n";
  for (const auto& [section, values] : run.config.items())
    if (values.is_object())
      out += fmt::format("<section><h3>{}</h3>{}</section>\n", escaped(section),
                         fields_table(values, {"images", "videos"}));  // items are listed one by one
  return out + "</div>\n";
}

/// A table of the objects in `rows`; numbers stand on the right.
std::string table(const ordered_json& rows, std::initializer_list<std::pair<const char*, const char*>> columns) {
  std::string out = "<div class=wide><table><tr>";
  for (const auto& [key, title] : columns) {
    const bool number = !rows.empty() && rows.front().value(key, ordered_json()).is_number();
    out += fmt::format("<th{}>{}</th>", number ? " class=number" : "", title);
  }
  out += "</tr>\n";
  for (const auto& row : rows) {
    out += "<tr>";
    for (const auto& [key, title] : columns)
      out += fmt::format("<td{}>{}</td>", row.value(key, ordered_json()).is_number() ? " class=number" : "",
                         escaped(field_text(row, key)));
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string facts(const Run& run) {
  std::string out;
  if (run.facts.contains("items"))
    out += "<h2>Data</h2>\n" +
           table(run.facts["items"],
                 {{"kind", "kind"}, {"path", "file"}, {"caption", "caption"}, {"size", "source"}, {"use", "used as"}});
  if (run.facts.contains("skipped") && !run.facts["skipped"].empty())
    out += "<h3>Skipped</h3>\n" + table(run.facts["skipped"], {{"path", "file"}, {"reason", "reason"}});
  if (run.facts.contains("sites"))
    out += "<h2>Adapted layers</h2>\n" +
           table(run.facts["sites"], {{"group", "group"}, {"sites", "layers"}, {"parameters", "parameters"}});
  if (run.facts.contains("backbone")) out += "<h2>Backbone</h2>\n" + fields_table(run.facts["backbone"]) + "\n";
  return out;
}

}  // namespace

std::string run_report(const fs::path& run_folder, const ReportLimits& limits) {
  const Run run = load_run(run_folder);
  const std::string name = field_text(run.config.value("run", ordered_json::object()), "name");
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width, "
      "initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style></head>\n<body><main>\n<h1>{0}</h1>\n",
      escaped(name.empty() ? fs::weakly_canonical(run_folder).filename().string() : name), kReportStyle);
  page += fmt::format("<p>{}</p>\n<p class=soft>{}</p>\n", escaped(field_text(run.config, "about")),
                      escaped(field_text(run.config, "program")));
  page += figures(run) + previews(run, limits) + charts(run) + facts(run) + settings(run);
  if (!run.metrics.empty()) page += "<script>" + std::string(kReportScript) + "</script>\n";
  return page + "</main></body></html>\n";
}

void write_run_report(const fs::path& run_folder, const ReportLimits& limits) {
  write_atomically(run_folder / "report.html", run_report(run_folder, limits));
}

}  // namespace jointtuner::report
