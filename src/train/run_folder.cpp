#include "jointtuner/train/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"

namespace jointtuner::train {

namespace fs = std::filesystem;

/// An advisory lock on RUN/.lock; the system releases it however the process ends.
class RunFolder::Lock {
 public:
  explicit Lock(const fs::path& folder)
      : descriptor_(::open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0)
      throw Error(fmt::format("{}: the folder cannot be written: {}", folder.string(), std::strerror(errno)));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor_);
      throw Error(
          fmt::format("{}: another process is training in this folder; wait for it, or give this run another "
                      "run.name",
                      folder.string()));
    }
  }
  ~Lock() { ::close(descriptor_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int descriptor_;
};

namespace {

/// A run has begun here once it has made a step.
bool holds_run(const fs::path& path) {
  std::error_code code;
  const auto bytes = fs::file_size(path / "metrics.jsonl", code);
  return (!code && bytes > 0) || fs::exists(path / "adapter.safetensors") ||
         !list_checkpoints(path / "checkpoints").empty();
}

void remove_folder(const fs::path& folder) {
  std::error_code code;
  fs::remove_all(folder, code);
  if (code) log_warning(fmt::format("{}: an old checkpoint could not be removed: {}", folder.string(), code.message()));
}

}  // namespace

RunFolder::RunFolder(fs::path path, RunIdentity identity, bool resume)
    : path_(std::move(path)), identity_(std::move(identity)) {
  if (!resume && holds_run(path_))
    throw UsageError(
        fmt::format("{}: holds a run already. Continue it with --resume, or choose another run.name or "
                    "run.output",
                    path_.string()));
  make_folder(checkpoints());
  lock_ = std::make_unique<Lock>(path_);
  remove_leftovers(path_);
  remove_leftovers(checkpoints());
  if (resume) find_checkpoint();
  write_atomically(path_ / "config.json", identity_.config_json + '\n');
}

RunFolder::~RunFolder() = default;

void RunFolder::find_checkpoint() {
  const std::map<int64_t, fs::path> found = list_checkpoints(checkpoints());
  for (auto checkpoint = found.rbegin(); checkpoint != found.rend() && !resumed_; ++checkpoint) {
    try {
      resumed_ = load_checkpoint_state(checkpoint->second);
    } catch (const Error& error) {
      log_warning(fmt::format("{}; the checkpoint before it is tried", error.what()));
    }
  }
  if (!resumed_) {
    log_info(fmt::format("{}: no usable checkpoint to resume from, the run starts at step 0", path_.string()));
    return;
  }
  const std::string reason = reason_not_to_resume(resumed_->identity, identity_);
  if (!reason.empty())
    throw UsageError(
        fmt::format("{}: this run cannot be resumed: {}. Restore it, or start a new run under another "
                    "run.name",
                    path_.string(), reason));
  log_info(fmt::format("{}: resuming after step {}", path_.string(), resumed_->step));
}

void RunFolder::restore(TrainingState& training) const {
  if (resumed_) {
    restore_checkpoint(checkpoint(resumed_->step), *resumed_, training);
    publish_adapter(resumed_->step);
  }
}

void RunFolder::save(CheckpointState state, const TrainingState& training, const adapter::AdapterMetadata& metadata,
                     int64_t keep) const {
  const int64_t step = state.step;
  state.identity = identity_;
  save_checkpoint(checkpoint(step), std::move(state), training, metadata);
  publish_adapter(step);
  if (keep == 0) return;
  std::map<int64_t, fs::path> found = list_checkpoints(checkpoints());
  found.erase(found.upper_bound(step), found.end());  // later ones can only be damaged
  while (found.size() > static_cast<size_t>(keep)) {
    remove_folder(found.begin()->second);
    found.erase(found.begin());
  }
}

void RunFolder::publish_adapter(int64_t step) const {
  const fs::path source = checkpoint(step) / "adapter.safetensors";
  std::error_code code;
  if (fs::equivalent(source, adapter(), code))
    return;  // renaming one link over another of the same file would do nothing
  write_atomically(adapter(), [&source](const fs::path& temporary) {
    std::error_code no_links;
    fs::create_hard_link(source, temporary, no_links);
    if (no_links) fs::copy_file(source, temporary, fs::copy_options::overwrite_existing);
  });
}

}  // namespace jointtuner::train
