// third_party/README.md lists what scripts/setup.sh installs, in the versions that it installs.
#include <set>

#include "pages.h"

namespace jointtuner::structure {
namespace {

std::string text_of(const fs::path& path) {
  std::string text;
  for (const std::string& line : lines_of(path)) text += line + "\n";
  return text;
}

class ThirdParty : public ::testing::Test {
 protected:
  const std::string page = text_of(kRoot / "third_party/README.md");
  const std::string setup = text_of(kRoot / "scripts/setup.sh");
};

std::set<std::string> found(const std::string& text, const std::regex& pattern) {
  std::set<std::string> all;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at) all.insert(at->str(1));
  return all;
}

TEST_F(ThirdParty, EveryPinOfAPythonPackageIsOnThePage) {
  const std::regex kPin(R"(([A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*))");
  const std::set<std::string> installed = found(setup, kPin), listed = found(page, kPin);
  EXPECT_GT(installed.size(), 40U) << "the scan found no pins";
  for (const std::string& pin : installed) EXPECT_TRUE(listed.contains(pin)) << "third_party/README.md lacks " << pin;
}

TEST_F(ThirdParty, EveryDebianPackageIsOnThePage) {
  std::set<std::string> installed;
  for (const std::string& list : found(setup, std::regex(R"(\n[a-z_]*packages=\(([^)$]*)\))")))
    installed.merge(found(list, std::regex(R"(([a-z0-9][a-z0-9.+-]+))")));
  EXPECT_GT(installed.size(), 15U) << "the scan found no packages";
  for (const std::string& name : installed)
    EXPECT_NE(page.find("`" + name + "`"), std::string::npos) << "third_party/README.md lacks " << name;
}

}  // namespace
}  // namespace jointtuner::structure
