// The project's pages: every *.md file that is the project's own.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace jointtuner::structure {

namespace fs = std::filesystem;
inline const fs::path kRoot = JOINTTUNER_SOURCE_DIR;

inline std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path << " cannot be read";
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// The folders that .gitignore names at the root: builds, runs, results.
inline std::vector<std::regex> ignored_folders() {
  std::vector<std::regex> names;
  for (const std::string& line : lines_of(kRoot / ".gitignore"))
    if (line.starts_with("/") && line.ends_with("/"))
      names.emplace_back(std::regex_replace(line.substr(1, line.size() - 2), std::regex("\\*"), ".*"));
  return names;
}

/// Whether a folder at the root is the project's: neither hidden nor ignored.
inline bool is_ours(const std::string& folder) {
  static const std::vector<std::regex> kIgnored = ignored_folders();
  for (const std::regex& name : kIgnored)
    if (std::regex_match(folder, name)) return false;
  return !folder.starts_with(".");
}

inline std::vector<fs::path> pages() {
  std::vector<fs::path> found;
  const auto add = [&](const fs::directory_entry& entry) {
    if (entry.is_regular_file() && entry.path().extension() == ".md") found.push_back(entry.path());
  };
  for (const auto& top : fs::directory_iterator(kRoot)) {
    add(top);
    if (!top.is_directory() || !is_ours(top.path().filename().string())) continue;
    for (const auto& entry : fs::recursive_directory_iterator(top.path())) add(entry);
  }
  return found;
}

}  // namespace jointtuner::structure
