// The checked-in bundle, and copies of it to be damaged.
#pragma once
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "jointtuner/base/atomic_file.h"
#include "support/temporary_folder.h"

namespace jointtuner::testing {

class BundleCopy {
 public:
  BundleCopy() {
    std::filesystem::copy(golden_bundle("nano_bundle"), path(), std::filesystem::copy_options::recursive);
  }

  std::filesystem::path path() const { return folder_ / "bundle"; }

  /// Rewrites bundle.json with a change.
  void edit(const std::function<void(nlohmann::json&)>& change) const {
    nlohmann::json manifest = nlohmann::json::parse(read_file(path() / "bundle.json"));
    change(manifest);
    std::ofstream(path() / "bundle.json") << manifest.dump(1);
  }

  /// Changes one byte in the middle of a file; size and name stay.
  void flip_byte(const std::string& name) const {
    std::fstream file(path() / name, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(path() / name) / 2);
    file.seekg(middle);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(middle);
    file.put(byte);
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace jointtuner::testing
