// The families of backbones that every train, sample, resume, convert and preview test runs on: tests/families.json,
// the list that the recipes read too.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "jointtuner/base/atomic_file.h"
#include "support/temporary_folder.h"

namespace jointtuner::testing {

struct Family {
  std::string name;
  std::filesystem::path bundle;               ///< a tiny one with random weights
  int64_t height = 0, width = 0, frames = 0;  ///< of a small clip that it takes
};

inline void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

inline const std::vector<Family>& families() {
  static const std::vector<Family> list = [] {
    std::vector<Family> all;
    const std::string text = read_file(std::filesystem::path(JOINTTUNER_TEST_DATA) / "families.json");
    for (const auto& one : nlohmann::json::parse(text))
      all.push_back({one.at("name"), golden_bundle(one.at("bundle").get<std::string>()), one.at("height"),
                     one.at("width"), one.at("frames")});
    return all;
  }();
  return list;
}

}  // namespace jointtuner::testing

// Runs the TEST_P of a suite (a TestWithParam<Family>) on every family.
#define FOR_ALL_FAMILIES(suite)                                                       \
  INSTANTIATE_TEST_SUITE_P(Families, suite, ::testing::ValuesIn(testing::families()), \
                           [](const auto& family) { return family.param.name; })
