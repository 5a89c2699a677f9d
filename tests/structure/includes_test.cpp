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

const std::map<std::string, std::set<std::string>> kTable{
    {"base", {}},
    {"media", {}},
    {"kernels", {}},
    {"text", {}},
    {"diffusion", {"kernels"}},
    {"adapter", {"kernels"}},
    {"data", {"media"}},
    {"backbone", {"text", "diffusion"}},
    {"inject", {"backbone", "adapter"}},
    {"train", {"data", "diffusion", "inject"}},
    {"sample", {"media", "diffusion", "inject"}},
    {"forecast", {"train", "sample"}},
    {"evaluate", {"media", "backbone"}},
    {"config", {}},  // options.h of every module, nothing else of them
    {"cli", {"config", "train", "sample", "forecast", "evaluate"}},
};

/// What `module` may include: itself, base, its row and the rows of those.
std::set<std::string> allowed(const std::string& module) {
  std::set<std::string> names{module, "base"};
  for (const std::string& below : kTable.at(module)) names.merge(allowed(below));
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
  for (const auto& [module, row] : kTable) {
    const auto names = allowed(module);
    for (const fs::path& file : files_of(module)) {
      for (const auto& [target, header] : includes(file)) {
        const bool options_for_config = module == "config" && header == "options.h";
        EXPECT_TRUE(names.contains(target) || options_for_config)
            << fs::relative(file, kSource) << " includes jointtuner/" << target << "/" << header << ", but module "
            << module << " must not know " << target;
        ++looked_at;
      }
    }
  }
  EXPECT_GT(looked_at, 100U) << "the scan found no sources";
}

TEST(Structure, EveryModuleFolderIsInTheTable) {
  for (const fs::path& root : {kSource / "include/jointtuner", kSource / "src"})
    for (const auto& entry : fs::directory_iterator(root))
      if (entry.is_directory())
        EXPECT_TRUE(kTable.contains(entry.path().filename().string())) << entry.path() << " is no module of the table";
}

TEST(Structure, NamesSaySomething) {
  const std::regex empty_name(R"((^|_)(utils?|common|helpers?|manager|misc)($|[_.]))");
  for (const char* root : {"include", "src", "tests", "scripts", "bench", "cmake"}) {
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
