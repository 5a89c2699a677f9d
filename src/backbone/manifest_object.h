// One JSON object of bundle.json, read field by field with checks.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace jointtuner::backbone {

inline constexpr const char* kExportAgain = "Export the bundle again with scripts/export_backbone.sh.";

/// Every getter throws Error, naming the file and the field's path, what is expected and what was found, where the
/// field is missing, of another type or out of range. The value must outlive the object.
class ManifestObject {
 public:
  // `where` names the file, `path` the object in it ("denoiser"; "" for the whole).
  ManifestObject(const nlohmann::json& value, std::string where, std::string path);

  ManifestObject object(const std::string& name);
  /// Not empty, and one of `allowed` where that is given.
  std::string text(const std::string& name, const std::vector<std::string>& allowed = {});
  int64_t integer(const std::string& name, int64_t low, int64_t high);
  double number(const std::string& name, double low, double high);  ///< low < number <= high
  bool truth(const std::string& name);
  std::vector<std::string> texts(const std::string& name);  ///< neither the list nor a text is empty
  std::vector<int64_t> integers(const std::string& name, int64_t low, int64_t high);
  const nlohmann::json& list(const std::string& name);  ///< not empty

  std::vector<std::string> names() const;
  /// Throws Error for a field that was never asked for: a mistake, or one of another version.
  void finish() const;
  [[noreturn]] void fail(const std::string& path, const std::string& expected, const nlohmann::json& found) const;

  std::string path_of(const std::string& name) const { return path_.empty() ? name : path_ + "." + name; }
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& member(const std::string& name);

  const nlohmann::json& value_;
  std::string where_, path_;
  std::set<std::string> asked_;
};

}  // namespace jointtuner::backbone
