#include "jointtuner/doctor/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace jointtuner::doctor {
namespace {

constexpr size_t kColumns = 7;
using Cells = std::array<std::string, kColumns>;

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok:
      return "ok";
    case Verdict::wrong:
      return "WRONG";
    case Verdict::left_out:
      return "left out";
  }
  return "";
}

std::string number(const std::optional<double>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "";
}

Cells cells(const Row& row) {
  std::string found = row.found;
  if (row.error) found = number(row.error, "{:.1e}") + (found.empty() ? "" : ", " + found);
  return {row.part,         row.check, row.on, found, number(row.limit, "{:.1e}"), number(row.gb_per_s, "{:.2f}"),
          word(row.verdict)};
}

}  // namespace

std::string table_text(const std::vector<Row>& rows) {
  std::vector<Cells> lines{{"part", "check", "on", "found", "limit", "GB/s", "verdict"}};
  for (const Row& row : rows) lines.push_back(cells(row));
  std::array<size_t, kColumns> widths{};
  for (const Cells& line : lines)
    for (size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], line[i].size());
  std::string text;
  for (size_t at = 0; at < lines.size(); ++at) {
    if (at > 0 && lines[at][0] != lines[at - 1][0]) text += "\n";
    for (size_t i = 0; i + 1 < kColumns; ++i) text += fmt::format("{:<{}}  ", lines[at][i], widths[i]);
    text += lines[at].back() + "\n";
  }
  return text;
}

Json table_json(const std::vector<Row>& rows) {
  Json out{{"ok", count(rows, Verdict::wrong) == 0},
           {"wrong", count(rows, Verdict::wrong)},
           {"left_out", count(rows, Verdict::left_out)},
           {"rows", Json::array()}};
  for (const Row& row : rows) {
    Json one{{"part", row.part}, {"check", row.check}};
    if (!row.on.empty()) one["on"] = row.on;
    if (!row.found.empty()) one["found"] = row.found;
    if (row.error) one["error"] = *row.error;
    if (row.limit) one["limit"] = *row.limit;
    if (row.gb_per_s) one["gb_per_s"] = *row.gb_per_s;
    one["verdict"] = word(row.verdict);
    out["rows"].push_back(std::move(one));
  }
  return out;
}

size_t count(const std::vector<Row>& rows, Verdict verdict) {
  return static_cast<size_t>(
      std::count_if(rows.begin(), rows.end(), [&](const Row& row) { return row.verdict == verdict; }));
}

Verdict judged(double error, double limit) { return error <= limit ? Verdict::ok : Verdict::wrong; }

}  // namespace jointtuner::doctor
