// The module table: each module includes only what its row names (and what those name in turn), base, and itself.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace {

namespace fs = std::filesystem;
const fs::path kSource = JOINTTUNER_SOURCE_DIR;

/// A row of the table in src/README.md.
struct Row {
  std::set<std::string> may_include;
  bool options_of_all = false;  ///< "options only": options.h of every module, nothing else of them
  bool all_above = false;
};

/// The rows by module. Their order in the file is the order of the layers, bottom first.
std::map<std::string, Row> read_table() {
  static const std::regex kRow(R"(^\| ([a-z]+) \|.*\| ([a-z, -]+) \|$)"), kName("[a-z]+");
  std::map<std::string, Row> table;
  std::ifstream text(kSource / "src/README.md");
  for (std::string line; std::getline(text, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, kRow) || match[1] == "module") continue;
    const std::string right = match[2];
    Row row;
    row.options_of_all = right == "options only";
    row.all_above = right == "all above";
    if (row.all_above) {
      for (const auto& [name, _] : table) row.may_include.insert(name);
    } else if (!row.options_of_all) {
      for (std::sregex_iterator name(right.begin(), right.end(), kName), end; name != end; ++name) {
        EXPECT_TRUE(table.contains(name->str()))
            << match[1] << " may include " << name->str() << ", which is not above it";
        row.may_include.insert(name->str());
      }
    }
    EXPECT_TRUE(table.emplace(match[1], row).second) << match[1] << " has two rows";
  }
  return table;
}

const std::map<std::string, Row>& table() {
  static const auto kTable = read_table();
  return kTable;
}

/// What `module` may include: itself, base, its row and the rows of those.
std::set<std::string> allowed(const std::string& module) {
  std::set<std::string> names{module, "base"};
  for (const std::string& below : table().at(module).may_include) names.merge(allowed(below));
  return names;
}

/// The modules' headers that a file includes, as {module, header}.
std::vector<std::pair<std::string, std::string>> includes(const fs::path& file) {
  static const std::regex kInclude(R"re(^\s*#include\s+"jointtuner/([a-z]+)/([^"]+)")re");
  std::vector<std::pair<std::string, std::string>> found;
  std::ifstream text(file);
  for (std::string line; std::getline(text, line);) {
    std::smatch match;
    if (std::regex_search(line, match, kInclude)) found.emplace_back(match[1], match[2]);
  }
  return found;
}

std::vector<fs::path> files_of(const std::string& module) {
  std::vector<fs::path> files;
  for (const fs::path& folder : {kSource / "include/jointtuner" / module, kSource / "src" / module})
    if (fs::exists(folder))
      for (const auto& entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file()) files.push_back(entry.path());
  return files;
}

TEST(Structure, NoIncludeGoesUpTheModuleTable) {
  size_t looked_at = 0;
  for (const auto& [module, row] : table()) {
    const auto names = allowed(module);
    for (const fs::path& file : files_of(module)) {
      for (const auto& [target, header] : includes(file)) {
        const bool options_for_config = row.options_of_all && header == "options.h";
        EXPECT_TRUE(names.contains(target) || options_for_config)
            << fs::relative(file, kSource) << " includes jointtuner/" << target << "/" << header << ", but module "
            << module << " must not know " << target;
        ++looked_at;
      }
    }
  }
  EXPECT_GT(looked_at, 100U) << "the scan found no sources";
}

TEST(Structure, EveryRightIsUsed) {
  ASSERT_GT(table().size(), 10U) << "src/README.md has no table of modules";
  for (const auto& [module, row] : table()) {
    if (row.all_above) continue;
    std::set<std::string> used;
    for (const fs::path& file : files_of(module))
      for (const auto& [target, header] : includes(file)) used.insert(target);
    for (const std::string& right : row.may_include)
      EXPECT_TRUE(used.contains(right)) << module << " may include " << right << " and does not: take it from its row";
  }
}

TEST(Structure, OnlyTheCommandLineKnowsItsParser) {
  size_t in_cli = 0;
  for (const auto& [module, row] : table())
    for (const fs::path& file : files_of(module)) {
      std::ifstream text(file);
      const std::string contents{std::istreambuf_iterator<char>(text), {}};
      if (contents.find("#include <CLI/") == std::string::npos) continue;
      EXPECT_EQ(module, "cli") << fs::relative(file, kSource) << " reads the command line";
      ++in_cli;
    }
  EXPECT_GT(in_cli, 5U);
}

TEST(Structure, EveryModuleFolderIsInTheTable) {
  for (const fs::path& root : {kSource / "include/jointtuner", kSource / "src"})
    for (const auto& entry : fs::directory_iterator(root)) {
      const bool is_known = !entry.is_directory() || table().contains(entry.path().filename().string());
      EXPECT_TRUE(is_known) << entry.path() << " is no module of the table";
    }
}

TEST(Structure, NamesSaySomething) {
  const std::regex empty_name(R"((^|_)(utils?|common|helpers?|manager|misc)($|[_.]))");
  for (const char* root : {"include", "src", "tests", "scripts", "bench", "cmake", "exporter", "world", "docs"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kSource / root)) {
      const std::string name = entry.path().filename().string();
      EXPECT_FALSE(std::regex_search(name, empty_name))
          << fs::relative(entry.path(), kSource) << ": name the thing it is";
    }
  }
}

TEST(Structure, HeadersAreNarrow) {
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "include")) {
    if (!entry.is_regular_file()) continue;
    std::ifstream text(entry.path());
    for (std::string line; std::getline(text, line);)
      for (const char* heavy : {"torch/torch.h", "torch/script.h", "torch/all.h", "ATen/ATen.h", "spdlog/"})
        EXPECT_EQ(line.find(std::string("#include <") + heavy), std::string::npos) << entry.path() << ": " << line;
  }
}

}  // namespace
