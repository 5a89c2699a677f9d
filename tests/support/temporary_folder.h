// A fresh folder for one test, removed with everything in it when the test ends.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace jointtuner::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "jointtuner-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder could be made under " + name);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;  // a leftover folder is no reason to fail a test
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// A file or folder under tests/goldens.
inline std::filesystem::path golden(const std::filesystem::path& name) {
  return std::filesystem::path(JOINTTUNER_TEST_DATA) / "goldens" / name;
}

/// A complete bundle or skeleton of tests/goldens/bundles, which the build folder holds with the tokenizer that they
/// share.
inline std::filesystem::path golden_bundle(const std::filesystem::path& name) {
  return std::filesystem::path(JOINTTUNER_TEST_BUNDLES) / name;
}

}  // namespace jointtuner::testing
