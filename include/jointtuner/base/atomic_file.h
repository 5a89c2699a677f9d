// Files that are either whole or absent. Contents go to a temporary name in the same folder, are flushed to the disk
// and renamed; a kill at any moment leaves the old file (or none), never half of the new one.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace jointtuner {

/// The whole file. Throws Error naming the path when it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Replaces `path` by `bytes`. Throws Error naming the path and the system's reason (no space left, no permission,
/// ...); an existing file is then unchanged and no temporary file stays.
void write_atomically(const std::filesystem::path& path, std::string_view bytes);

/// The same for writers that want a file name: `write` fills the temporary file (same extension), which is then flushed
/// and renamed.
void write_atomically(const std::filesystem::path& path,
                      const std::function<void(const std::filesystem::path& temporary)>& write);

/// The same for a folder, which gets its name last. `path` must not exist.
void write_folder_atomically(const std::filesystem::path& path,
                             const std::function<void(const std::filesystem::path& temporary)>& write);

/// Creates a folder and its parents; throws Error naming the path.
void make_folder(const std::filesystem::path& path);

/// Removes what killed processes left under temporary names ("report.partial-4711-1.html") in `folder`. Files and
/// folders of processes that still run are kept.
void remove_leftovers(const std::filesystem::path& folder);

/// Flushes a file or folder to the disk.
void flush_to_disk(const std::filesystem::path& path);

}  // namespace jointtuner
