// One hand: the rules of the house that no formatter keeps. tests/format/format.sh has the formatters.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
const fs::path kSource = JOINTTUNER_SOURCE_DIR;

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream text(file);
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

/// Calls `look` with every C++ and CUDA file of the project; returns how many there are.
size_t for_every_source(const std::function<void(const fs::path&, const std::vector<std::string>&)>& look) {
  size_t count = 0;
  for (const char* root : {"include", "src", "tests", "bench"})
    for (const auto& entry : fs::recursive_directory_iterator(kSource / root)) {
      const std::string ending = entry.path().extension().string();
      if (ending != ".h" && ending != ".cpp" && ending != ".cu") continue;
      look(fs::relative(entry.path(), kSource), lines_of(entry.path()));
      ++count;
    }
  return count;
}

/// Style sheet and script of the report, as they are embedded.
bool embeds_a_page(const fs::path& file) { return file.string().starts_with("src/report/report_"); }

bool is_comment(const std::string& line) { return line.starts_with("//"); }

TEST(Style, AHeaderBeginsWithWhatItIsThenPragmaOnce) {
  for_every_source([](const fs::path& file, const std::vector<std::string>& lines) {
    if (file.extension() != ".h") return;
    size_t at = 0;
    while (at < lines.size() && lines[at].starts_with("// ")) ++at;
    while (at < lines.size() && is_comment(lines[at])) ++at;
    EXPECT_GT(at, 0U) << file << ": expected a head comment in its first line";
    ASSERT_LT(at, lines.size()) << file;
    EXPECT_EQ(lines[at], "#pragma once") << file << ": expected it after the head comment";
  });
}

TEST(Style, CommentsOfDeclarationsHaveThreeStrokes) {
  static const std::regex kPlain("^//( |$)"), kNoDeclaration(R"(^(#|namespace|\}|//|using namespace|$))");
  for_every_source([](const fs::path& file, const std::vector<std::string>& lines) {
    if (embeds_a_page(file)) return;
    size_t head = 0;
    while (head < lines.size() && (is_comment(lines[head]) || lines[head] == "#pragma once")) ++head;
    for (size_t i = head; i + 1 < lines.size(); ++i) {
      if (!std::regex_search(lines[i], kPlain)) continue;
      EXPECT_TRUE(std::regex_search(lines[i + 1], kNoDeclaration))
          << file << ":" << i + 1 << ": a declaration's comment begins with ///";
    }
  });
}

TEST(Style, TestsAreNamedBySentencesInCamelCase) {
  static const std::regex kTest(R"(^(?:TYPED_)?TEST(?:_[FP])?\((\w+), (\w+)\))"), kCamel("[A-Z][A-Za-z0-9]*");
  size_t tests = 0;
  for_every_source([&](const fs::path& file, const std::vector<std::string>& lines) {
    for (const std::string& line : lines) {
      std::smatch match;
      if (!std::regex_search(line, match, kTest)) continue;
      ++tests;
      for (const size_t name : {1, 2})
        EXPECT_TRUE(std::regex_match(match[name].str(), kCamel)) << file << ": " << match[name];
    }
  });
  EXPECT_GT(tests, 500U);
}

TEST(Style, LinesHaveAtMost120Characters) {
  const size_t files = for_every_source([](const fs::path& file, const std::vector<std::string>& lines) {
    if (embeds_a_page(file)) return;
    for (size_t i = 0; i < lines.size(); ++i) {
      size_t characters = 0;
      for (const char byte : lines[i]) characters += (byte & 0xC0) != 0x80;
      EXPECT_LE(characters, 120U) << file << ":" << i + 1;
    }
  });
  EXPECT_GT(files, 300U);
}

TEST(Style, FilesHaveAtMost400Lines) {
  for_every_source([](const fs::path& file, const std::vector<std::string>& lines) {
    EXPECT_LE(lines.size(), 400U) << file << ": which second thing does it do?";
  });
}

}  // namespace
