// Forecasts of the published models at their published sizes, from skeletons (scripts/make_full_size_skeleton.py): the
// table of the README, which is compared with what is computed here.
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
  int64_t denoiser_parameters;  // of the diffusers class with the published config, counted with Python
  int64_t text_parameters, text_bytes;
};

void PrintTo(const Model& model, std::ostream* out) { *out << model.skeleton; }

const Model kZeroScope{"ZeroScope", "zeroscope", 384, 384, 16, 32, 1411233860, 340387840, 2};

std::string gib(int64_t bytes) { return fmt::format("{:.1f}", static_cast<double>(bytes) / 0x1p30); }

class FullSize : public ::testing::TestWithParam<Model> {
 protected:
  const Model& model = GetParam();
  const std::filesystem::path folder = testing::golden(std::filesystem::path("skeletons") / model.skeleton);
  const backbone::Bundle bundle = backbone::open_for_shapes(folder);

  Work work(SegmentMemory memory) const {
    Work found = work_of({"", model.height, model.width, model.frames, memory}, bundle.manifest());
    found.adapter.rank = model.rank;
    return found;
  }
};

TEST_P(FullSize, HasThePublishedNumberOfWeights) {
  EXPECT_ERROR(backbone::Bundle::open(folder), Error, "a skeleton", "export_backbone.sh");
  const int64_t size = c10::elementSize(bundle.manifest().denoiser.dtype);
  EXPECT_EQ(preview(bundle, work(SegmentMemory::recompute), at::kCUDA).weights, model.denoiser_parameters * size);
  EXPECT_NEAR(static_cast<double>(encode_text(bundle, at::kCUDA).weights),
              static_cast<double>(model.text_parameters * model.text_bytes), 1e6);  // position ids, buckets
}

TEST_P(FullSize, IsForecastAsTheReadmeSays) {
  std::vector<std::string> cells;
  for (const SegmentMemory memory : {SegmentMemory::keep, SegmentMemory::recompute, SegmentMemory::offload})
    cells.push_back(gib(train(bundle, work(memory), at::kCUDA).peak()));
  Work sampling = work(SegmentMemory::recompute);
  const Stage text = encode_text(bundle, at::kCUDA), latents = encode_latents(bundle, sampling, at::kCUDA);
  const Stage previewed = preview(bundle, sampling, at::kCUDA), whole = decode(bundle, sampling, at::kCUDA);
  sampling.sample.decode_tile = 256;
  const Stage tiled = decode(bundle, sampling, at::kCUDA);
  const std::string row =
      fmt::format("| {} {}x{}, {} frames, rank {} | {} | {} | {} | {} | {} | {} | {} | {} |", model.shown, model.height,
                  model.width, model.frames, model.rank, gib(text.peak()), gib(latents.peak()), cells[0], cells[1],
                  cells[2], gib(previewed.peak()), gib(whole.peak()), gib(tiled.peak()));
  fmt::print("{}\n", row);
  const std::string readme = read_file(std::filesystem::path(JOINTTUNER_SOURCE_DIR) / "README.md");
  EXPECT_NE(readme.find(row), std::string::npos) << "README.md, \"What fits on a card\", lacks the row " << row;
}

INSTANTIATE_TEST_SUITE_P(Models, FullSize, ::testing::Values(kZeroScope),
                         [](const auto& one) { return one.param.skeleton; });

}  // namespace
}  // namespace jointtuner::forecast
