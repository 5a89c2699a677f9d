#include "metrics.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"

namespace jointtuner::train {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

ordered_json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

ordered_json number(const std::optional<double>& value) { return value ? number(*value) : ordered_json(nullptr); }

ordered_json item_object(const ItemResult& result, const data::Item& item) {
  const bool video = result.kind == data::Kind::video;
  ordered_json object = {{"name", item.path.generic_string()},
                         {"kind", video ? "video" : "image"},
                         {"timestep", result.timestep},
                         {"loss", number(result.loss)}};
  if (video)
    object["clip"] = result.draw.clip;
  else
    object["flip"] = result.draw.flip;
  return object;
}

/// Bytes of the lines of steps 1, 2, ... `last_step` at the beginning of `text`, and how many there are.
std::pair<size_t, int64_t> kept_part(const std::string& text, int64_t last_step) {
  size_t bytes = 0;
  int64_t steps = 0;
  while (steps < last_step) {
    const size_t end = text.find('\n', bytes);
    if (end == std::string::npos) break;
    const auto line = ordered_json::parse(text.begin() + static_cast<std::ptrdiff_t>(bytes),
                                          text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (!line.is_object() || !line.contains("step") || line["step"] != steps + 1) break;
    bytes = end + 1;
    ++steps;
  }
  return {bytes, steps};
}

}  // namespace

std::string metrics_line(const StepMetrics& metrics, const std::vector<data::Item>& items) {
  ordered_json line = {{"step", metrics.step},
                       {"epoch", metrics.epoch},
                       {"loss", number(metrics.loss)},
                       {"loss_image", number(metrics.loss_image)},
                       {"loss_video", number(metrics.loss_video)},
                       {"gradient_norm", number(metrics.gradient_norm)},
                       {"learning_rate", number(metrics.learning_rate)},
                       {"mean_gate", number(metrics.mean_gate)},
                       {"loss_scale", number(metrics.loss_scale)},
                       {"skipped", metrics.skipped},
                       {"seconds", number(metrics.seconds)},
                       {"samples_per_second", number(static_cast<double>(metrics.samples) / metrics.seconds)},
                       {"peak_memory_bytes", metrics.peak_memory_bytes},
                       {"items", ordered_json::array()}};
  for (const ItemResult& item : metrics.items)
    line["items"].push_back(item_object(item, items.at(static_cast<size_t>(item.draw.item))));
  return line.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

MetricsFile::MetricsFile(fs::path path, int64_t last_step) : path_(std::move(path)) {
  if (fs::exists(path_)) {
    const auto [bytes, steps] = kept_part(read_file(path_), last_step);
    if (steps < last_step)
      log_warning(fmt::format("{}: holds steps 1 to {} only, the run continues after step {}", path_.string(), steps,
                              last_step));
    std::error_code code;
    fs::resize_file(path_, bytes, code);
    if (code) throw Error(fmt::format("{}: cannot be cut to the resumed step: {}", path_.string(), code.message()));
  }
  file_.reset(std::fopen(path_.c_str(), "ab"));
  if (!file_) throw Error(fmt::format("{}: cannot be opened for writing: {}", path_.string(), std::strerror(errno)));
}

void MetricsFile::append(const std::string& line) {
  const std::string text = line + '\n';
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() || std::fflush(file_.get()) != 0)
    throw Error(
        fmt::format("{}: writing failed: {}. Checkpoints written so far are safe; free some space and go on "
                    "with --resume",
                    path_.string(), std::strerror(errno)));
}

void MetricsFile::sync() {
  if (::fsync(::fileno(file_.get())) != 0 && errno != EINVAL)
    throw Error(fmt::format("{}: flushing to the disk failed: {}", path_.string(), std::strerror(errno)));
}

int64_t peak_memory_bytes(at::Device device) {
  if (device.is_cpu()) {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return int64_t{usage.ru_maxrss} * 1024;
  }
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.has_index() ? device.index() : 0);
  return stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

}  // namespace jointtuner::train
