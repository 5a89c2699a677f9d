// What `doctor` found, row by row, and how it is printed.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace jointtuner::doctor {

using Json = nlohmann::ordered_json;

enum class Verdict { ok, wrong, left_out };

struct Row {
  std::string part = {};                ///< versions, devices, kernels or training
  std::string check = {};               ///< what was looked at
  std::string on = {};                  ///< device and dtype, or "" where there is no choice
  std::string found = {};               ///< in words; "" where `error` says it
  std::optional<double> error = {};     ///< largest relative difference
  std::optional<double> limit = {};     ///< what it may be
  std::optional<double> gb_per_s = {};  ///< bytes on paper by median time
  Verdict verdict = Verdict::ok;
};

/// A row each under a line of headings, columns in line, parts apart.
std::string table_text(const std::vector<Row>& rows);

/// {"ok": bool, "wrong": n, "left_out": n, "rows": [{part, check, on, found, error, limit, gb_per_s, verdict}]}; what a
/// row does not have is absent.
Json table_json(const std::vector<Row>& rows);

size_t count(const std::vector<Row>& rows, Verdict verdict);

/// ok when `error` is a number that is not above `limit`. NaN is wrong.
Verdict judged(double error, double limit);

}  // namespace jointtuner::doctor
