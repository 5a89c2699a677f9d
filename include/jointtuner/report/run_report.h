// report.html of a run: one file that opens offline, made from the run folder alone.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace jointtuner::report {

struct ReportLimits {
  int64_t embedded_bytes = 48 << 20;  ///< of preview sheets and videos all together; what does not fit is named, the
                                      ///< newest previews come first
};

/// The page: loss curves by kind with smoothing and hover, gradient norm and learning rate (inline SVG), previews by
/// step (sheets and videos as data URIs), settings, sites by group, items. Reads config.json, metrics.jsonl,
/// facts.json and previews/ of `run_folder`; a part whose file is missing is left out, a damaged line of metrics.jsonl
/// (a killed process's last) is passed over. Throws Error when config.json is missing or unreadable.
std::string run_report(const std::filesystem::path& run_folder, const ReportLimits& limits = {});

/// Writes RUN/report.html atomically.
void write_run_report(const std::filesystem::path& run_folder, const ReportLimits& limits = {});

}  // namespace jointtuner::report
