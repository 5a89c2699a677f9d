#include "jointtuner/base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"

namespace jointtuner {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMark = ".partial-";

std::string reason() { return std::strerror(errno); }

/// "report.html" -> "report.partial-4711.html": the extension stays, since writers pick a format by it; the process
/// number tells leftovers of the dead from files of the living. The count behind it keeps threads of one process apart.
fs::path temporary_name(const fs::path& path) {
  static std::atomic<uint64_t> count{0};
  return path.parent_path() /
         fmt::format("{}{}{}-{}{}", path.stem().string(), kMark, ::getpid(), ++count, path.extension().string());
}

class FileDescriptor {
 public:
  FileDescriptor(const fs::path& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC, 0666)), path_(path) {
    if (value_ < 0) throw Error(fmt::format("{}: cannot be opened: {}", path.string(), reason()));
  }
  ~FileDescriptor() {
    if (value_ >= 0) ::close(value_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(value_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw Error(fmt::format("{}: writing failed: {}", path_.string(), reason()));
      bytes.remove_prefix(static_cast<size_t>(written));
    }
  }
  void flush() {
    // EINVAL: a kind of file (pipe, some network file systems' folders) that cannot be flushed.
    if (::fsync(value_) != 0 && errno != EINVAL)
      throw Error(fmt::format("{}: flushing to the disk failed: {}", path_.string(), reason()));
  }
  void close() {
    const int closed = ::close(std::exchange(value_, -1));
    if (closed != 0) throw Error(fmt::format("{}: closing failed: {}", path_.string(), reason()));
  }

 private:
  int value_;
  fs::path path_;
};

void rename_over(const fs::path& from, const fs::path& to) {
  std::error_code code;
  fs::rename(from, to, code);
  if (code) throw Error(fmt::format("{}: could not get its name: {}", to.string(), code.message()));
  flush_to_disk(to.has_parent_path() ? to.parent_path() : fs::path("."));
}

/// Runs `write` on the temporary name; removes what it left when it throws.
void fill(const fs::path& path, const fs::path& temporary, const std::function<void(const fs::path&)>& write) {
  std::error_code ignored;  // of the clean-up: the first error is the one to report
  try {
    write(temporary);
  } catch (const Error& error) {
    fs::remove_all(temporary, ignored);
    throw Error(fmt::format("{}: could not be written: {}", path.string(), error.what()));
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace

std::string read_file(const fs::path& path) {
  std::error_code code;
  if (fs::is_directory(path, code)) throw Error(fmt::format("{}: is a folder, a file was expected", path.string()));
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file) throw Error(fmt::format("{}: cannot be opened: {}", path.string(), reason()));
  if (file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  if (file.bad() || text.bad()) throw Error(fmt::format("{}: reading failed: {}", path.string(), reason()));
  return std::move(text).str();
}

void flush_to_disk(const fs::path& path) { FileDescriptor(path, O_RDONLY).flush(); }

void write_atomically(const fs::path& path, std::string_view bytes) {
  write_atomically(path, [bytes](const fs::path& temporary) {
    FileDescriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    file.write(bytes);
    file.close();
  });
}

void write_atomically(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  const fs::path temporary = temporary_name(path);
  fill(path, temporary, [&write](const fs::path& name) {
    write(name);
    flush_to_disk(name);
  });
  rename_over(temporary, path);
}

void write_folder_atomically(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  if (fs::exists(path)) throw Error(fmt::format("{}: exists already", path.string()));
  const fs::path temporary = temporary_name(path);
  std::error_code ignored;
  fs::remove_all(temporary, ignored);
  fill(path, temporary, [&write](const fs::path& name) {
    make_folder(name);
    write(name);
    for (const auto& entry : fs::recursive_directory_iterator(name)) flush_to_disk(entry.path());
    flush_to_disk(name);
  });
  rename_over(temporary, path);
}

void make_folder(const fs::path& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) throw Error(fmt::format("{}: the folder could not be made: {}", path.string(), code.message()));
}

void remove_leftovers(const fs::path& folder) {
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    const size_t mark = name.find(kMark);
    if (mark == std::string::npos) continue;
    pid_t process = 0;
    const char* digits = name.data() + mark + kMark.size();
    std::from_chars(digits, name.data() + name.size(), process);
    const bool alive = process > 0 && process != ::getpid() && (::kill(process, 0) == 0 || errno == EPERM);
    if (!alive) {
      fs::remove_all(entry.path(), code);
      log_debug(fmt::format("removed {}, left by a process that was killed", entry.path().string()));
    }
  }
}

}  // namespace jointtuner
