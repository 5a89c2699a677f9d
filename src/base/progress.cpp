#include "jointtuner/base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "jointtuner/base/log.h"

namespace jointtuner {

namespace {

constexpr int kBarWidth = 24;
constexpr std::chrono::milliseconds kTerminalInterval{100};
constexpr std::chrono::seconds kPlainInterval{10};

double seconds_since(std::chrono::steady_clock::time_point then) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

}  // namespace

std::string duration_text(double seconds) {
  const int64_t whole = std::llround(std::max(seconds, 0.0));
  const int64_t hours = whole / 3600;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, whole / 60 % 60, whole % 60)
                   : fmt::format("{:02}:{:02}", whole / 60, whole % 60);
}

Progress::Progress(std::string title, int64_t total, int64_t start)
    : title_(std::move(title)),
      total_(total),
      start_(start),
      done_(start),
      terminal_(::isatty(STDERR_FILENO) == 1),
      began_(std::chrono::steady_clock::now()),
      shown_(began_) {}

Progress::~Progress() { finish(); }

std::string Progress::line(std::string_view note) const {
  const double seconds = seconds_since(began_);
  const double rate = static_cast<double>(done_ - start_) / std::max(seconds, 1e-9);
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : 0;
  std::string text = fmt::format("{} {}/{}", title_, done_, total_);
  if (done_ > start_) {
    text += rate >= 1 ? fmt::format("  {:.2f}/s", rate) : fmt::format("  {:.2f} s each", 1 / rate);
    text += fmt::format("  {}", done_ < total_ ? "ETA " + duration_text(left) : "in " + duration_text(seconds));
  }
  return note.empty() ? text : fmt::format("{}  {}", text, note);
}

void Progress::update(int64_t done, std::string_view note) {
  done_ = done;
  const auto now = std::chrono::steady_clock::now();
  const bool first = done_ == start_ + 1;
  const bool last = done_ >= total_;
  if (terminal_) {
    if (!first && !last && now - shown_ < kTerminalInterval) return;
    const auto filled = total_ > 0 ? static_cast<int>(kBarWidth * done_ / total_) : kBarWidth;
    fmt::print(stderr, "\r\x1b[K[{:#<{}}{:.<{}}] {}", "", filled, "", kBarWidth - filled, line(note));
    std::fflush(stderr);
  } else {
    if (!first && !last && now - shown_ < kPlainInterval) return;
    log_info(line(note));
  }
  shown_ = now;
}

void Progress::finish() {
  if (terminal_ && !finished_ && done_ > start_) std::fputc('\n', stderr);
  finished_ = true;
}

}  // namespace jointtuner
