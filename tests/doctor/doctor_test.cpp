// `jointtuner doctor`: the table, and that what is wrong is found.
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <torch/library.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "cli/command_line.h"
#include "jointtuner/base/gpus.h"
#include "jointtuner/doctor/checks.h"
#include "src/doctor/kernels.h"
#include "src/doctor/machine.h"
#include "src/doctor/training.h"

namespace jointtuner::doctor {
namespace {

using cli::command;
using cli::expect_done;
using cli::expect_refused;
using cli::Outcome;
using ::testing::HasSubstr;

const std::vector<std::string> kQuick{"doctor", "--device", "cpu", "--quick", "--threads", "2"};

/// Run once: the quick check of this machine's CPU, as JSON.
const Json& quick() {
  static const Json found = [] {
    auto words = kQuick;
    words.push_back("--json");
    return Json::parse(expect_done(words));
  }();
  return found;
}

std::vector<Json> rows_of(const std::string& part) {
  std::vector<Json> rows;
  for (const Json& row : quick()["rows"])
    if (row["part"] == part) rows.push_back(row);
  return rows;
}

TEST(Doctor, ASoundMachineIsAllRight) {
  EXPECT_EQ(quick()["ok"], true);
  EXPECT_EQ(quick()["wrong"], 0);
  EXPECT_EQ(quick()["left_out"], 2);
  for (const Json& row : quick()["rows"]) EXPECT_NE(row["verdict"], "WRONG") << row;
}

TEST(Doctor, VersionsAreThoseOfTheLibraries) {
  std::map<std::string, std::string> found;
  for (const Json& row : rows_of("versions")) found[row["check"]] = row["found"];
  EXPECT_THAT(found["jointtuner"], ::testing::MatchesRegex("[0-9.]+"));
  EXPECT_THAT(found["LibTorch"], HasSubstr("2."));
  EXPECT_THAT(found["compiler"], HasSubstr("C++20"));
  EXPECT_THAT(found["OpenMP"], HasSubstr("2 threads"));
  for (const char* library : {"libavformat", "libavcodec", "libswscale", "libavutil", "OpenCV"})
    EXPECT_THAT(found[library], ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+.*")) << library;
}

TEST(Doctor, DevicesNameTheProcessorAndItsMemory) {
  const auto rows = rows_of("devices");
  ASSERT_EQ(rows.size(), 1 + gpus().size());
  EXPECT_EQ(rows[0]["check"], "cpu");
  EXPECT_THAT(rows[0]["found"].get<std::string>(), ::testing::ContainsRegex("[0-9]+ cores.* GiB of [0-9.]+ GiB"));
}

TEST(Doctor, EveryKernelIsThereInEveryDtypeWithErrorAndSpeed) {
  std::map<std::string, int> seen;
  for (const Json& row : rows_of("kernels")) {
    if (row["verdict"] == "left out") continue;
    ++seen[row["check"]];
    if (row["check"] == "glora_linear, lora_up = 0") continue;
    EXPECT_LE(row["error"].get<double>(), row["limit"].get<double>()) << row;
    EXPECT_GT(row["gb_per_s"].get<double>(), 0) << row;
  }
  EXPECT_EQ(seen.size(), kernel_cases().size() + 1);
  for (const auto& [name, dtypes] : seen) EXPECT_EQ(dtypes, 3) << name;
}

TEST(Doctor, EveryOperatorHasACase) {
  std::set<std::string> operators, compared;
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames())
    if (name.name.rfind("jointtuner::", 0) == 0) operators.insert(name.name.substr(12));
  std::erase_if(operators, [](const std::string& name) { return name[0] == '_'; });  // steps of operators
  for (const KernelCase& kernel : kernel_cases())
    compared.insert(kernel.name.substr(0, kernel.name.find_first_of(", ")));
  EXPECT_EQ(compared, operators);
}

TEST(Doctor, WhatWasLeftOutSaysWhy) {
  const auto kernels = rows_of("kernels"), training = rows_of("training");
  for (const Json& last : {kernels.back(), training.back()}) {
    EXPECT_EQ(last["verdict"], "left out");
    const std::string missing = why_no_gpu();
    EXPECT_EQ(last["found"], missing.empty() ? "--device cpu was asked for" : missing);
  }
  EXPECT_EQ(training.size(), 4U);
}

TEST(Doctor, TableHasOneLineOfHeadingsAndColumnsInLine) {
  const std::vector<Row> rows{
      {.part = "kernels", .check = "add_noise", .on = "cpu float32", .error = 2e-8, .limit = 1e-6, .gb_per_s = 3.14159},
      {.part = "training", .check = "x", .found = "no GPU", .verdict = Verdict::left_out}};
  EXPECT_EQ(table_text(rows),
            "part      check      on           found    limit    GB/s  verdict\n"
            "\n"
            "kernels   add_noise  cpu float32  2.0e-08  1.0e-06  3.14  ok\n"
            "\n"
            "training  x                       no GPU                  left out\n");
}

TEST(Doctor, NotANumberIsNoMatch) {
  const double nan = std::nan("");
  EXPECT_EQ(judged(1, 1), Verdict::ok);
  EXPECT_EQ(judged(1.001, 1), Verdict::wrong);
  EXPECT_EQ(judged(nan, 1), Verdict::wrong);
  const Tensor right = at::full({3}, 2.0), other = at::full({3}, 2.5);
  EXPECT_EQ(largest_difference({right}, {right}), 0);
  EXPECT_DOUBLE_EQ(largest_difference({right, other}, {right, right}), 0.25);
  EXPECT_TRUE(std::isnan(largest_difference({right * nan, right}, {right, right})));
  EXPECT_EQ(largest_difference({right.view({1, 3})}, {right}), std::numeric_limits<double>::infinity());
  EXPECT_EQ(largest_difference({}, {right}), std::numeric_limits<double>::infinity());
}

/// `one` with a kernel whose results `change` changes.
KernelCase changed(KernelCase one, const std::function<void(Tensors&)>& change) {
  one.kernel = [right = one.kernel, change](const Tensors& inputs) -> Bound {
    return [bound = right(inputs), change] {
      Tensors results = bound();
      for (Tensor& result : results) result = result.clone();
      change(results);
      return results;
    };
  };
  return one;
}

TEST(Doctor, LimitsAreAFewRoundings) {
  for (const KernelCase& one : kernel_cases()) {
    EXPECT_LE(one.limit(at::kFloat), 1e-5) << one.name;
    EXPECT_LE(one.limit(at::kHalf), 8 * std::ldexp(1, -11)) << one.name;
    EXPECT_LE(one.limit(at::kBFloat16), 8 * std::ldexp(1, -8)) << one.name;
  }
}

TEST(Doctor, AKernelThatIsWrongInOneElementIsFound) {
  for (const KernelCase& right : kernel_cases()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
      const double twice = 2 * right.limit(dtype);
      const auto off = changed(right, [&](Tensors& results) {
        Tensor last = results.back().view(-1)[-1];
        last.add_(results.back().abs().max() * (last.item().toDouble() < 0 ? -twice : twice));
      });
      const Row row = kernel_row(off, at::kCPU, dtype, true);
      EXPECT_EQ(row.verdict, Verdict::wrong) << right.name << " " << dtype << ": " << *row.error;
    }
    const auto poisoned = changed(right, [](Tensors& results) { results.front().view(-1)[0] = std::nan(""); });
    EXPECT_EQ(kernel_row(poisoned, at::kCPU, at::kFloat, true).verdict, Verdict::wrong) << right.name;
  }
}

TEST(Doctor, AKernelThatDoesNotRepeatItselfIsFound) {
  auto calls = std::make_shared<int>(0);
  const auto drifting = changed(kernel_cases().back(), [calls](Tensors& results) {
    if (++*calls % 2 == 0) results[0].view(-1)[0].mul_(1 + std::ldexp(1, -22));  // within the limit, other bits
  });
  const Row row = kernel_row(drifting, at::kCPU, at::kFloat, true);
  EXPECT_LE(*row.error, *row.limit);
  EXPECT_EQ(row.verdict, Verdict::wrong);
  EXPECT_EQ(row.found, "two calls differ");
}

TEST(Doctor, TrainingThatGoesWrongIsFound) {
  EXPECT_EQ(training_row({}, at::kCPU, at::kFloat, true).verdict, Verdict::ok);
  TrainingOps no_dropout;
  no_dropout.linear = [](const Tensor& x, const kernels::FrozenLinear& frozen, const kernels::GloraAdapter& adapter,
                         const kernels::GloraOptions& how) {
    return kernels::glora_linear(x, frozen, adapter, {.scale = how.scale, .groups = how.groups});
  };
  EXPECT_EQ(training_row(no_dropout, at::kCPU, at::kFloat, true).verdict, Verdict::wrong);
  TrainingOps other_sign;
  other_sign.loss = [](const Tensor& prediction, const Tensor& target, const std::optional<Tensor>& shift,
                       double strength, kernels::LossReduction reduction) {
    return kernels::shifted_mse(prediction, target, shift, -strength, reduction);
  };
  EXPECT_EQ(training_row(other_sign, at::kCPU, at::kFloat, true).verdict, Verdict::wrong);
}

Tensor& lazy_update(Tensor& y, const Tensor&, const std::optional<Tensor>&, double, double, int64_t, int64_t) {
  return y;
}
Tensor& broken_update(Tensor&, const Tensor&, const std::optional<Tensor>&, double, double, int64_t, int64_t) {
  TORCH_CHECK(false, "no kernel image is available");
}

TEST(Doctor, AWrongKernelInTheProgramIsExitCode1AndItsRowSaysWrong) {
  torch::Library library(torch::Library::IMPL, "jointtuner", c10::DispatchKey::CPU, __FILE__, __LINE__);
  library.impl("gated_update", lazy_update);
  const Outcome outcome = command(kQuick);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("gated_update, dropout +cpu float32 .* WRONG"));
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("add_noise +cpu bfloat16 .* ok"));
  EXPECT_THAT(outcome.err, HasSubstr("the first: gated_update, dropout on cpu float32"));
}

TEST(Doctor, AKernelThatThrowsIsAWrongRowAndTheOthersGoOn) {
  torch::Library library(torch::Library::IMPL, "jointtuner", c10::DispatchKey::CPU, __FILE__, __LINE__);
  library.impl("gated_update", broken_update);
  const Outcome outcome = command(kQuick);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("gated_update, dropout .*no kernel image is available.* WRONG"));
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("add_noise +cpu float16 .* ok"));
  EXPECT_THAT(outcome.err, HasSubstr("the first: gated_update"));
}

class DoctorBundle : public ::testing::TestWithParam<testing::Family> {};
FOR_ALL_FAMILIES(DoctorBundle);

TEST_P(DoctorBundle, TrainsTheSameWithAndWithoutSegments) {
  const auto rows = bundle_rows(GetParam().bundle.string(), at::kCPU);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].verdict, Verdict::ok);
  EXPECT_EQ(*rows[0].error, 0);
  EXPECT_THAT(rows[0].found, HasSubstr("loss "));
}

TEST(Doctor, ABundleThatIsNotThereIsAWrongRow) {
  auto words = kQuick;
  words.insert(words.end(), {"--bundle", "/none/bundle"});
  const Outcome outcome = command(words);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("/none/bundle.* WRONG"));
}

TEST(Doctor, WrongUsage) {
  expect_refused(2, {"doctor", "--quik"},
                 {"unknown option --quik; did you mean --quick?", "see jointtuner doctor --help"});
  expect_refused(2, {"doctor", "--device", "cuda:63"}, {"cuda:63"});
  expect_refused(2, {"doctor", "--threads", "0"}, {"--threads"});
  expect_refused(2, {"doctor", "--bundle"}, {"--bundle"});
  expect_refused(2, {"doctor", "now"}, {"unknown argument now"});
}

}  // namespace
}  // namespace jointtuner::doctor
