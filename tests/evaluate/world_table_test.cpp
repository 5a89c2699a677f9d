// Rows, csv and summary of sample folders, from drawn videos.
#include "jointtuner/evaluate/world_table.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/media/video_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::evaluate::world {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr const char* kTruth = R"({
  "references": {"subjects": [{"shape": "square", "texture": "plain", "first": "green", "second": "green"}],
                 "backgrounds": ["navy", "gray"]},
  "prompts": {
    "a toy dancing on a teal background": {
      "subject": {"shape": "circle", "texture": "half", "first": "red", "second": "white"},
      "motion": "hop", "background": "teal"},
    "a toy, \"dancing\"": {
      "subject": {"shape": "heart", "texture": "plain", "first": "blue", "second": "blue"},
      "motion": "orbit", "background": "plum"}}})";

Tensor film(const Subject& subject, std::string_view motion, std::string_view background) {
  const Tensor path = motion_path(motion, 8);
  const Tensor places = at::stack({path.select(1, 0) + 16, path.select(1, 1) + 16, path.select(1, 2) * 6}, 1);
  return (draw(subject, background, places) * 255).round().to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

class WorldTable : public ::testing::Test {
 protected:
  void SetUp() override {
    write_atomically(folder_ / "world.json", kTruth);
    media::write_mp4(folder_ / "good.mp4", film({"circle", "half", "red", "white"}, "hop", "teal"), 8);
    media::write_mp4(folder_ / "bad.mp4", film({"square", "plain", "green", "green"}, "left", "navy"), 8);
    media::write_mp4(folder_ / "other.mp4", film({"heart", "plain", "blue", "blue"}, "orbit", "plum"), 8);
    list(R"({"file":"good.mp4","label":"tuned","prompt":"a toy dancing on a teal background","seed":1}
{"file":"bad.mp4","label":"frozen","prompt":"a toy dancing on a teal background","seed":1}
{"file":"other.mp4","label":"tuned","prompt":"a toy, \"dancing\"","seed":2}
)");
  }
  void list(const std::string& lines) { write_atomically(folder_ / "samples.jsonl", lines); }
  std::vector<Row> rows() { return world_rows({folder_.path()}, folder_ / "world.json"); }
  TemporaryFolder folder_;
};

TEST_F(WorldTable, RowsAreTheVideosInOrder) {
  const auto all = rows();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_GT(all[0].scores.joint(), .85);
  EXPECT_EQ(all[1].scores.contamination, 1);
  EXPECT_EQ(all[1].scores.joint(), 0);
  EXPECT_EQ(all[1].measured.motion, "left");
  EXPECT_GT(all[2].scores.joint(), .85);
  EXPECT_EQ(all[2].seed, 2);
}

TEST_F(WorldTable, CsvSaysWhatWasAskedAndFound) {
  const std::string csv = world_csv(rows());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 4);
  EXPECT_THAT(csv, HasSubstr("circle,half,red,white,hop,teal,circle,half,red,white,hop,teal,0."));
  EXPECT_THAT(csv, HasSubstr("circle,half,red,white,hop,teal,square,plain,green,green,left,navy,"));
  EXPECT_THAT(csv, HasSubstr("\"a toy, \"\"dancing\"\"\""));
}

TEST_F(WorldTable, SummaryHasALineALabel) {
  const std::string summary = world_summary(rows());
  EXPECT_EQ(std::count(summary.begin(), summary.end(), '\n'), 3);
  EXPECT_THAT(summary, ::testing::ContainsRegex("tuned +2 .* 1.000 +1.000 +1.000 +1.000\n"));
  EXPECT_THAT(summary, ::testing::ContainsRegex("frozen +1 .* 0.000 +0.000 +0.000 +0.000\n"));
}

TEST_F(WorldTable, NamesWhatIsWrong) {
  list(R"({"file":"good.mp4","label":"x","prompt":"a cat","seed":1})");
  EXPECT_ERROR(rows(), Error, "world.json", "a cat", "prompts");
  list(R"({"file":"none.mp4","label":"x","prompt":"a toy dancing on a teal background","seed":1})");
  EXPECT_ERROR(rows(), Error, "none.mp4", "no such file");
  list("{\"file\":");
  EXPECT_ERROR(rows(), Error, "samples.jsonl", "damaged");
  media::write_mp4(folder_ / "large.mp4", at::zeros({4, 64, 48, 3}, at::kByte), 8);
  list(R"({"file":"large.mp4","label":"x","prompt":"a toy dancing on a teal background","seed":1})");
  EXPECT_ERROR(rows(), Error, "large.mp4", "32x32", "48x64");
  write_atomically(folder_ / "world.json", R"({"prompts": {}})");
  EXPECT_ERROR(rows(), Error, "world.json", "references");
  write_atomically(folder_ / "world.json", "no json");
  EXPECT_ERROR(rows(), Error, "world.json", "references and prompts");
}

}  // namespace
}  // namespace jointtuner::evaluate::world
