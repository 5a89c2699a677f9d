// The pages lead where they say: every relative link, picture and path in every *.md file.
#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "pages.h"

namespace jointtuner::structure {
namespace {

/// A page's lines without blocks of code.
std::vector<std::string> prose(const fs::path& page) {
  static const std::regex kFence(R"(^\s*```.*)");
  std::vector<std::string> kept;
  bool code = false;
  for (const std::string& line : lines_of(page)) {
    const bool fence = std::regex_match(line, kFence);
    if (fence) code = !code;
    if (!code && !fence) kept.push_back(line);
  }
  EXPECT_FALSE(code) << page << ": a block of code has no end";
  return kept;
}

std::string without_code(const std::string& line) { return std::regex_replace(line, std::regex("`[^`]*`"), ""); }

std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at) found.push_back((*at)[1]);
  return found;
}

/// What a forge makes of a heading (GitHub's rule; letters beyond ASCII are kept): small letters, digits, - and _, with
/// - for spaces.
std::string slug(const std::string& heading) {
  std::string made;
  for (const char letter : heading) {
    const auto byte = static_cast<unsigned char>(letter);
    if (std::isalnum(byte) || byte >= 0x80 || letter == '-' || letter == '_')
      made += static_cast<char>(std::tolower(byte));
    else if (letter == ' ')
      made += '-';
  }
  return made;
}

/// Of all headings of a page; the second of two equal ones ends in -1.
std::set<std::string> anchors(const fs::path& page) {
  static const std::regex kHeading(R"(^#{1,6} +(.*?) *$)"), kLink(R"(\[([^\]]*)\]\([^)]*\))");
  std::map<std::string, int> seen;
  std::set<std::string> found;
  for (const std::string& line : prose(page)) {
    std::smatch heading;
    if (!std::regex_match(line, heading, kHeading)) continue;
    const std::string made = slug(std::regex_replace(heading[1].str(), kLink, "$1"));
    const int before = seen[made]++;
    found.insert(before == 0 ? made : made + "-" + std::to_string(before));
  }
  return found;
}

/// Empty when the link of `page` leads somewhere, else what is wrong with it.
std::string fault(const fs::path& page, const std::string& link) {
  const size_t hash = link.find('#');
  const std::string path = link.substr(0, hash);
  const fs::path target = path.empty() ? page : (page.parent_path() / path).lexically_normal();
  if (target.lexically_relative(kRoot).string().starts_with("..")) return "leads out of the project";
  if (!fs::exists(target)) return "there is no " + target.string();
  if (hash != std::string::npos && target.extension() == ".md" && !anchors(target).contains(link.substr(hash + 1)))
    return target.string() + " has no such heading";
  return "";
}

TEST(Links, EveryLinkAndPictureLeadsToAFileAndEveryAnchorToAHeading) {
  const std::regex kLink(R"(\]\(([^)\s]+)\))"), kElsewhere(R"(^[a-z]+:.*)");
  size_t looked_at = 0;
  for (const fs::path& page : pages()) {
    for (const std::string& line : prose(page)) {
      for (const std::string& link : matches(without_code(line), kLink)) {
        if (std::regex_match(link, kElsewhere)) continue;
        EXPECT_EQ(fault(page, link), "") << fs::relative(page, kRoot) << " links to " << link;
        ++looked_at;
      }
    }
  }
  EXPECT_GT(looked_at, 50U) << "the scan found no links";
}

TEST(Links, EveryPathInThePagesIsThere) {
  const std::regex kPath(R"(`([A-Za-z0-9_.-]+/[A-Za-z0-9_./-]*)`)");
  size_t looked_at = 0;
  for (const fs::path& page : pages()) {
    for (const std::string& line : prose(page)) {
      for (const std::string& path : matches(line, kPath)) {
        const std::string top = path.substr(0, path.find('/'));
        if (!is_ours(top) || !fs::exists(kRoot / top)) continue;  // of a run, a bundle, or relative to another folder
        EXPECT_TRUE(fs::exists(kRoot / path)) << fs::relative(page, kRoot) << " names " << path;
        ++looked_at;
      }
    }
  }
  EXPECT_GT(looked_at, 50U) << "the scan found no paths";
}

TEST(Links, AnchorsFollowTheForgesRule) {
  EXPECT_EQ(slug("How far the committed pipelines are"), "how-far-the-committed-pipelines-are");
  EXPECT_EQ(slug("CogVideoX's autoencoder"), "cogvideoxs-autoencoder");
  EXPECT_EQ(slug("`glora_linear` (fp16), 1.5"), "glora_linear-fp16-15");
}

TEST(FrontPage, IsShortAndShowsWhatTheProgramMakes) {
  const std::vector<std::string> lines = lines_of(kRoot / "README.md");
  EXPECT_LE(lines.size(), 120U);
  const auto shows = [](const std::string& line) { return line.find("](docs/demo.gif)") != std::string::npos; };
  EXPECT_EQ(std::count_if(lines.begin(), lines.begin() + std::min<std::ptrdiff_t>(20, std::ssize(lines)), shows), 1);
}

}  // namespace
}  // namespace jointtuner::structure
