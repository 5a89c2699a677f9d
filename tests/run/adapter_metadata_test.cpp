#include "jointtuner/run/adapter_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"

namespace jointtuner::run {
namespace {

TEST(AdapterMetadata, HasEveryOptionOfTheLossAsText) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle("nano_bundle"));
  adapter::AdapterOptions options;
  options.rank = 3;
  options.gate = false;
  diffusion::LossOptions loss;
  loss.video_weight = 0.1;
  const adapter::AdapterMetadata metadata = adapter_metadata(options, loss, bundle);
  EXPECT_EQ(metadata.rank, 3);
  EXPECT_FALSE(metadata.gated);
  EXPECT_EQ(metadata.family, "unet3d");
  EXPECT_EQ(metadata.denoiser_sha256, bundle.sha256("denoiser.pt"));
  const std::map<std::string, std::string> known{
      {"loss_video", "ait"},        {"loss_video_weight", "0.1"},       {"loss_image_weight", "1"},
      {"loss_shift_strength", "1"}, {"loss_video_timestep_shift", "1"}, {"loss_image_timestep_shift", "1"}};
  EXPECT_THAT(metadata.trained_with, ::testing::IsSupersetOf(known));
  size_t options_of_the_loss = 0;
  diffusion::LossOptions::fields(loss, [&](const auto&...) { ++options_of_the_loss; });
  EXPECT_EQ(metadata.trained_with.size(), options_of_the_loss);
}

}  // namespace
}  // namespace jointtuner::run
