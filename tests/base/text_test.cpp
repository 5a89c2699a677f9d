// The small text functions of module base: nearest, shape texts, hashes, durations, devices.
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "jointtuner/base/device.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/nearest.h"
#include "jointtuner/base/progress.h"
#include "jointtuner/base/sha256.h"
#include "jointtuner/base/shape.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner {
namespace {

TEST(Nearest, SuggestsOnlyWhatIsNear) {
  const std::vector<std::string> names{"learning_rate", "steps", "rank"};
  EXPECT_EQ(nearest("learnign_rate", names), "learning_rate");
  EXPECT_EQ(nearest("step", names), "steps");
  EXPECT_EQ(nearest("rnk", names), "rank");
  EXPECT_EQ(nearest("trian", {"train", "sample"}), "train");
  EXPECT_EQ(nearest("banana", names), "");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Sha256, EqualsTheStandardsExamples) {  // FIPS 180-2, appendix B
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256().update("a").update("bc").hex(), sha256_hex("abc"));
  EXPECT_ERROR(sha256_file("/nonexistent/file"), Error, "/nonexistent/file");
}

TEST(Shape, MessagesNameTheTensorAndBothShapes) {
  EXPECT_EQ(shape_text({1, 4, 16}), "[1, 4, 16]");
  check_shape(at::zeros({1, 4, 8}), {1, -1, 8}, "latents");
  EXPECT_ERROR(check_shape(at::zeros({1, 4}), {1, -1, 8}, "latents"), Error, "latents", "[1, *, 8]", "found [1, 4]");
  EXPECT_ERROR(check_shape(at::Tensor(), {1}, "latents"), Error, "no tensor");
}

TEST(Progress, DurationsReadAsClocks) {
  EXPECT_EQ(duration_text(3.4), "00:03");
  EXPECT_EQ(duration_text(59.6), "01:00");
  EXPECT_EQ(duration_text(3723), "1:02:03");
}

TEST(Device, TextsBecomeDevicesOrUsageErrors) {
  EXPECT_EQ(parse_device("cpu"), c10::Device(c10::kCPU));
  EXPECT_ERROR(parse_device("gpu"), UsageError, "'gpu'", "auto, cpu, cuda or cuda:N");
  EXPECT_ERROR(parse_device("cuda:x"), UsageError, "'cuda:x'", "cuda:N");
  EXPECT_ERROR(parse_device("cuda:4096"), UsageError, "cuda:4096");
}

}  // namespace
}  // namespace jointtuner
