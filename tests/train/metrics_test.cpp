#include "src/train/metrics.h"

#include <gtest/gtest.h>

#include <limits>

#include "fake_run.h"
#include "full_disk.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::train {

namespace {

StepMetrics metrics_of_step_three() {
  StepMetrics metrics;
  metrics.step = 3;
  metrics.epoch = 1;
  metrics.loss = 2.5;
  metrics.loss_video = 0.25;
  metrics.gradient_norm = 0.125;
  metrics.learning_rate = 5e-4;
  metrics.mean_gate = 0.5;
  metrics.seconds = 2;
  metrics.samples = 1;
  metrics.peak_memory_bytes = 4096;
  metrics.items = {{{.item = 2, .flip = false, .clip = 1}, data::Kind::video, 713, 0.25}};
  return metrics;
}

void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

}  // namespace

TEST(MetricsLine, IsOneObjectInAFixedOrder) {
  EXPECT_EQ(metrics_line(metrics_of_step_three(), fake_items()),
            R"({"step":3,"epoch":1,"loss":2.5,"loss_image":null,"loss_video":0.25,"gradient_norm":0.125,)"
            R"("learning_rate":0.0005,"mean_gate":0.5,"loss_scale":1.0,"skipped":false,"seconds":2.0,)"
            R"("samples_per_second":0.5,"peak_memory_bytes":4096,)"
            R"("items":[{"name":"videos/2.mp4","kind":"video","timestep":713,"loss":0.25,"clip":1}]})");
}

TEST(MetricsLine, NumbersThatJsonLacksBecomeTexts) {
  StepMetrics metrics = metrics_of_step_three();
  metrics.loss = std::numeric_limits<double>::quiet_NaN();
  metrics.gradient_norm = -std::numeric_limits<double>::infinity();
  const std::string line = metrics_line(metrics, fake_items());
  EXPECT_NE(line.find(R"("loss":"nan")"), std::string::npos) << line;
  EXPECT_NE(line.find(R"("gradient_norm":"-inf")"), std::string::npos) << line;
}

TEST(MetricsFile, AppendsAndReachesTheSystemAtOnce) {
  const testing::TemporaryFolder folder;
  MetricsFile file(folder / "metrics.jsonl", 0);
  file.append(R"({"step":1})");
  EXPECT_EQ(bytes_of(folder / "metrics.jsonl"), "{\"step\":1}\n");
}

TEST(MetricsFile, CutsOffWhatFollowsTheResumedStep) {
  const testing::TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  const std::string two = "{\"step\":1}\n{\"step\":2,\"loss\":0.5}\n";
  write(path, two + "{\"step\":3}\n{\"step\":4,\"lo");
  MetricsFile(path, 2).append(R"({"step":3,"again":true})");
  EXPECT_EQ(bytes_of(path), two + "{\"step\":3,\"again\":true}\n");
  write(path, two + "{\"step\":3");  // half a line of a kept step goes too
  MetricsFile(path, 3).sync();
  EXPECT_EQ(bytes_of(path), two);
  MetricsFile(path, 0).sync();
  EXPECT_EQ(bytes_of(path), "");
}

TEST(MetricsFile, NamesAFullDisk) {
  const testing::TemporaryFolder folder;
  MetricsFile file(folder / "metrics.jsonl", 0);
  const FullDisk full(4);
  EXPECT_ERROR(file.append(R"({"step":1})"), Error, "metrics.jsonl", "writing failed", "--resume");
}

TEST(PeakMemory, IsMoreThanWhatATensorTook) {
  const int64_t before = peak_memory_bytes(at::kCPU);
  const Tensor large = at::arange(int64_t{1} << 24, at::kFloat);  // 64 MiB, touched
  EXPECT_GE(peak_memory_bytes(at::kCPU), before + (1 << 20));
  EXPECT_GT(before, 1 << 20);
}

}  // namespace jointtuner::train
