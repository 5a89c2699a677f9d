// Forecasts of the published models at their published sizes, from skeletons (tests/pipelines/skeleton.py): the rows of
// docs/memory.md are what is computed here.
#include <c10/core/ScalarType.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "counted.h"
#include "jointtuner/backbone/skeleton.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/forecast/fit.h"
#include "support/expect_error.h"

namespace jointtuner::forecast {
namespace {

using inject::SegmentMemory;

struct Model {
  std::string shown, skeleton;
  int64_t height, width, frames, rank;
  int64_t denoiser_parameters, text_parameters;  ///< of the published classes, counted with Python
};

void PrintTo(const Model& model, std::ostream* out) { *out << model.skeleton; }

/// What a GPU must have, with the allowances of fit.h.
std::string needed(const Stage& stage) {
  return fmt::format("{:.1f}", static_cast<double>(required(stage, at::kCUDA) + kCudaContext) / 0x1p30);
}

class FullSize : public ::testing::TestWithParam<Model> {
 protected:
  const Model& model = GetParam();
  const std::filesystem::path folder = testing::golden_bundle(std::filesystem::path("skeletons") / model.skeleton);
  const backbone::Bundle bundle = backbone::open_for_shapes(folder);

  Work work(SegmentMemory memory) const {
    Work found = work_of({"", model.height, model.width, model.frames, memory}, bundle.manifest());
    found.adapter.rank = model.rank;
    return found;
  }
};

TEST_P(FullSize, HasThePublishedNumberOfWeights) {
  EXPECT_ERROR(backbone::Bundle::open(folder), Error, "a skeleton", "export_backbone.sh");
  constexpr int64_t kHalf = 2;  // bytes of fp16 and bf16
  EXPECT_EQ(preview(bundle, work(SegmentMemory::recompute), at::kCUDA).weights, model.denoiser_parameters * kHalf);
  EXPECT_NEAR(static_cast<double>(encode_text(bundle, at::kCUDA).weights),
              static_cast<double>(model.text_parameters * kHalf), 1e6);  // position ids, buckets
}

TEST_P(FullSize, IsForecastAsTheDocsSay) {
  std::string row = fmt::format("| {} {}x{}, {} frames |", model.shown, model.width, model.height, model.frames);
  for (const SegmentMemory memory : {SegmentMemory::keep, SegmentMemory::recompute, SegmentMemory::offload})
    row += fmt::format(" {} |", needed(train(bundle, work(memory), at::kCUDA)));
  Work sampling = work(SegmentMemory::recompute);
  row += fmt::format(" {} | {} |", needed(encode_text(bundle, at::kCUDA)),
                     needed(encode_latents(bundle, sampling, at::kCUDA)));
  row += fmt::format(" {} | {} |", needed(preview(bundle, sampling, at::kCUDA)),
                     needed(decode(bundle, sampling, at::kCUDA)));
  sampling.sample.decode_tile = 256;
  row += fmt::format(" {} |", needed(decode(bundle, sampling, at::kCUDA)));
  fmt::print("{}\n", row);
  const std::string page = read_file(std::filesystem::path(JOINTTUNER_SOURCE_DIR) / "docs/memory.md");
  EXPECT_NE(page.find(row + "\n"), std::string::npos) << "docs/memory.md lacks the row\n" << row;
}

/// The nano models take no rank that could be halved.
TEST(FullSizeFit, LargeAdaptersAreHalvedBeforeClipsAreCut) {
  const auto bundle =
      backbone::open_for_shapes(testing::golden_bundle(std::filesystem::path("skeletons") / "zeroscope"));
  Work work = work_of({"", 192, 192, 2, SegmentMemory::offload}, bundle.manifest());
  work.adapter.rank = 64;
  const std::vector<Change> changes = changes_to_fit(bundle, work, "train", 1, at::kCUDA);
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[0].settings, "adapter.rank=32");
  EXPECT_EQ(changes[1].settings, "adapter.rank=16");
  EXPECT_EQ(changes[2].settings, "data.frames=1");
}

INSTANTIATE_TEST_SUITE_P(
    Models, FullSize,
    ::testing::Values(Model{"ZeroScope", "zeroscope", 384, 384, 16, 32, 1411233860, 340387840},
                      Model{"ZeroScope", "zeroscope", 320, 576, 24, 32, 1411233860, 340387840},
                      Model{"CogVideoX-2B", "cogvideox_2b", 480, 720, 49, 128, 1693783872, 4762310656},
                      Model{"CogVideoX-5B", "cogvideox_5b", 480, 720, 49, 128, 5570283072, 4762310656}),
    [](const auto& one) {
      return fmt::format("{}_{}x{}x{}", one.param.skeleton, one.param.width, one.param.height, one.param.frames);
    });

}  // namespace
}  // namespace jointtuner::forecast
