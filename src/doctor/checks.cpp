#include "jointtuner/doctor/checks.h"

#include <fmt/format.h>

#include <functional>

#include "jointtuner/base/progress.h"
#include "jointtuner/run/problems.h"
#include "kernels.h"
#include "machine.h"
#include "training.h"

namespace jointtuner::doctor {
namespace {

constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kHalf, at::kBFloat16};

/// A row, or several, still to be made; `name` is what stands in for it if it throws.
struct Check {
  Row name;
  std::function<std::vector<Row>()> rows;
};

Row named(const char* part, std::string check, at::Device device, at::ScalarType dtype) {
  return {.part = part,
          .check = std::move(check),
          .on = fmt::format("{} {}", device.str(), c10::getDtypeNames(dtype).first)};
}

void add_device(std::vector<Check>& kernels, std::vector<Check>& training, at::Device device, bool quick) {
  for (const at::ScalarType dtype : kDtypes) {
    for (const KernelCase& one : kernel_cases())
      kernels.push_back({named("kernels", one.name, device, dtype),
                         [=] { return std::vector<Row>{kernel_row(one, device, dtype, quick)}; }});
    kernels.push_back({named("kernels", "glora_linear, lora_up = 0", device, dtype),
                       [=] { return std::vector<Row>{frozen_row(device, dtype)}; }});
    training.push_back({named("training", "two layers", device, dtype),
                        [=] { return std::vector<Row>{training_row(TrainingOps{}, device, dtype, quick)}; }});
  }
}

Check left_out(const char* part) {
  const Row row{.part = part, .check = std::string(part) + " on a GPU", .verdict = Verdict::left_out};
  return {row, [=] {
            Row said = row;
            const std::string missing = why_no_gpu();
            said.found = missing.empty() ? "--device cpu was asked for" : missing;
            return std::vector<Row>{said};
          }};
}

std::vector<Check> checks(const Options& options) {
  std::vector<Check> first{{{.part = "versions", .check = "versions"}, version_rows},
                           {{.part = "devices", .check = "devices"}, device_rows}};
  std::vector<Check> kernels, training;
  add_device(kernels, training, at::kCPU, options.quick);
  if (!options.device.is_cpu()) add_device(kernels, training, options.device, options.quick);
  if (!options.bundle.empty())
    training.push_back({named("training", options.bundle, options.device, at::kFloat),
                        [=] { return bundle_rows(options.bundle, options.device); }});
  if (options.device.is_cpu()) {
    kernels.push_back(left_out("kernels"));
    training.push_back(left_out("training"));
  }
  for (std::vector<Check>* part : {&kernels, &training}) first.insert(first.end(), part->begin(), part->end());
  return first;
}

}  // namespace

std::vector<Row> findings(const Options& options) {
  const std::vector<Check> all = checks(options);
  std::vector<Row> rows;
  Progress progress("doctor", static_cast<int64_t>(all.size()));
  for (size_t i = 0; i < all.size(); ++i) {
    run::Problems problems;
    if (!problems.attempt([&] {
          const std::vector<Row> made = all[i].rows();
          rows.insert(rows.end(), made.begin(), made.end());
        })) {
      rows.push_back(all[i].name);
      rows.back().found = problems.found().front();
      rows.back().verdict = Verdict::wrong;
    }
    progress.update(static_cast<int64_t>(i + 1), all[i].name.check);
  }
  return rows;
}

}  // namespace jointtuner::doctor
