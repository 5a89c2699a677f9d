// Log lines on stderr, and in a run's train.log as well once add_log_file was called. Results go to stdout, never here.
#pragma once
#include <filesystem>
#include <string_view>

namespace jointtuner {

enum class LogLevel { debug, info, warning, error };

void set_log_level(LogLevel level);
void log_debug(std::string_view message);
void log_info(std::string_view message);
void log_warning(std::string_view message);
void log_error(std::string_view message);

/// Also append log lines to this file; throws Error when it cannot be opened.
void add_log_file(const std::filesystem::path& path);

}  // namespace jointtuner
