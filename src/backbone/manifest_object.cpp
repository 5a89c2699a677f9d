#include "manifest_object.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "jointtuner/base/error.h"
#include "jointtuner/base/nearest.h"

namespace jointtuner::backbone {

using nlohmann::json;

ManifestObject::ManifestObject(const json& value, std::string where, std::string path)
    : value_(value), where_(std::move(where)), path_(std::move(path)) {
  if (!value_.is_object()) fail(path_, "an object", value_);
}

ManifestObject ManifestObject::object(const std::string& name) {
  return ManifestObject(member(name), where_, path_of(name));
}

std::string ManifestObject::text(const std::string& name, const std::vector<std::string>& allowed) {
  const json& value = member(name);
  if (!value.is_string() || value.get_ref<const std::string&>().empty())
    fail(path_of(name), "a text that is not empty", value);
  const auto& found = value.get_ref<const std::string&>();
  if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), found) == allowed.end())
    fail(path_of(name), fmt::format("one of {}", fmt::join(allowed, ", ")), value);
  return found;
}

int64_t ManifestObject::integer(const std::string& name, int64_t low, int64_t high) {
  const json& value = member(name);
  const bool good = value.is_number_integer() && value.get<double>() >= static_cast<double>(low) &&
                    value.get<double>() <= static_cast<double>(high);
  if (!good) fail(path_of(name), fmt::format("a whole number from {} to {}", low, high), value);
  return value.get<int64_t>();
}

double ManifestObject::number(const std::string& name, double low, double high) {
  const json& value = member(name);
  const bool good = value.is_number() && value.get<double>() > low && value.get<double>() <= high;
  if (!good) fail(path_of(name), fmt::format("a number above {}, at most {}", low, high), value);
  return value.get<double>();
}

bool ManifestObject::truth(const std::string& name) {
  const json& value = member(name);
  if (!value.is_boolean()) fail(path_of(name), "true or false", value);
  return value.get<bool>();
}

std::vector<std::string> ManifestObject::texts(const std::string& name) {
  const json& value = list(name);
  std::vector<std::string> result;
  for (const json& element : value) {
    if (!element.is_string() || element.get_ref<const std::string&>().empty())
      fail(path_of(name), "a list of texts", value);
    result.push_back(element.get<std::string>());
  }
  return result;
}

std::vector<int64_t> ManifestObject::integers(const std::string& name, int64_t low, int64_t high) {
  const json& value = member(name);
  if (!value.is_array()) fail(path_of(name), "a list of whole numbers", value);
  std::vector<int64_t> result;
  for (const json& element : value) {
    if (!element.is_number_integer() || element < low || element > high)
      fail(path_of(name), fmt::format("whole numbers from {} to {}", low, high), value);
    result.push_back(element.get<int64_t>());
  }
  return result;
}

const json& ManifestObject::list(const std::string& name) {
  const json& value = member(name);
  if (!value.is_array() || value.empty()) fail(path_of(name), "a list that is not empty", value);
  return value;
}

std::vector<std::string> ManifestObject::names() const {
  std::vector<std::string> result;
  for (const auto& [name, value] : value_.items()) result.push_back(name);
  return result;
}

void ManifestObject::finish() const {
  for (const auto& [name, value] : value_.items()) {
    if (asked_.count(name)) continue;
    const std::string near = nearest(name, {asked_.begin(), asked_.end()});
    throw Error(fmt::format("{}: unknown field `{}`{}. {}", where_, path_of(name),
                            near.empty() ? "" : fmt::format(" (did you mean `{}`?)", near), kExportAgain));
  }
}

void ManifestObject::fail(const std::string& path, const std::string& expected, const json& found) const {
  throw Error(fmt::format("{}: `{}` must be {}, found {}. {}", where_, path, expected, found.dump(), kExportAgain));
}

const json& ManifestObject::member(const std::string& name) {
  asked_.insert(name);
  const auto found = value_.find(name);
  if (found == value_.end())
    throw Error(fmt::format("{}: field `{}` is missing. {}", where_, path_of(name), kExportAgain));
  return *found;
}

}  // namespace jointtuner::backbone
