// Progress of a long task on stderr: one rewritten line with bar, rate and ETA on a terminal; elsewhere (log file,
// Slurm, CI) a plain line now and then.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace jointtuner {

class Progress {
 public:
  /// `start` items were done before (a resumed run): they do not count for the rate.
  Progress(std::string title, int64_t total, int64_t start = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// `done` items of `total`; `note` is shown behind, for example "loss 0.123".
  void update(int64_t done, std::string_view note = {});
  /// Ends the line; called by the destructor too.
  void finish();

 private:
  std::string line(std::string_view note) const;
  std::string title_;
  int64_t total_, start_, done_;
  bool terminal_, finished_ = false;
  std::chrono::steady_clock::time_point began_, shown_;
};

/// "1:02:03" or "02:03".
std::string duration_text(double seconds);

}  // namespace jointtuner
