// The sprite world's drawing and measures against world/*.py (tests/goldens/make/world.py), and scores of true and
// wrong videos.
#include <ATen/Functions.h>
#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>

#include <nlohmann/json.hpp>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/evaluate/world_measure.h"
#include "jointtuner/media/video_reader.h"
#include "jointtuner/media/video_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::evaluate::world {
namespace {

using nlohmann::json;
using testing::TemporaryFolder;

std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(JOINTTUNER_TEST_DATA) / "goldens/evaluate" / name;
}

struct Goldens {
  Safetensors tensors = load_safetensors(golden("world.safetensors"));
  json entries = json::parse(read_file(golden("world.json")));
  Tensor video(size_t n) const { return tensors.at("video/" + std::to_string(n)).to(at::kFloat) / 255; }
};

Subject subject_of(const json& scene) {
  return {scene.at("shape"), scene.at("texture"), scene.at("first"), scene.at("second")};
}

TEST(World, DrawsWhatPythonDraws) {
  const Goldens goldens;
  int scenes = 0;
  for (size_t n = 0; n < goldens.entries.size(); ++n) {
    const json& scene = goldens.entries[n].at("scene");
    if (scene.is_null()) continue;
    ++scenes;
    const Tensor drawn = draw(subject_of(scene), scene.at("background").get<std::string>(),
                              goldens.tensors.at("places/" + std::to_string(n)));
    EXPECT_LE((drawn - goldens.video(n)).abs().max().item<float>(), .5F / 255 + 1e-4F) << "scene " << n;
  }
  EXPECT_EQ(scenes, 15);
}

TEST(World, MeasuresWhatPythonMeasures) {
  const Goldens goldens;
  for (size_t n = 0; n < goldens.entries.size(); ++n) {
    SCOPED_TRACE("video " + std::to_string(n));
    const json& want = goldens.entries[n].at("found");
    const Measured found = measure(goldens.video(n));
    EXPECT_EQ(found.whole_frames, want.at("whole_frames"));
    EXPECT_EQ(found.background, want.at("background"));
    EXPECT_EQ(found.motion, want.at("motion"));
    EXPECT_NEAR(found.iou, want.at("iou").get<double>(), 1e-5);
    EXPECT_EQ(found.subject.has_value(), !want.at("texture").is_null());
    if (found.subject) {
      EXPECT_EQ(*found.subject, subject_of(want));
    }
    for (const auto& [motion, distance] : want.at("distances").items()) {
      EXPECT_NEAR(found.motion_distance_px.at(motion), distance.get<double>(), 1e-5) << motion;
    }
    const Tensor track = sprite_track(goldens.video(n)).nan_to_num(-1);
    EXPECT_LE((track - goldens.tensors.at("track/" + std::to_string(n))).abs().max().item<double>(), 1e-5);
  }
}

// A path through the middle at a given radius.
Tensor places(std::string_view motion, int64_t frames, double radius = 6) {
  const Tensor path = motion_path(motion, frames);
  return at::stack({path.select(1, 0) + 16, path.select(1, 1) + 16, path.select(1, 2) * radius}, 1);
}

const Asked kAsked{{"circle", "half", "red", "white"},
                   "figure_eight",
                   "teal",
                   {{"square", "plain", "green", "green"}, {"cross", "half", "blue", "cyan"}},
                   {"navy", "brown", "gray"}};

Tensor truth() { return draw(kAsked.subject, kAsked.background, places(kAsked.motion, 8)); }

TEST(WorldScores, TruthScoresNearOne) {
  for (const std::string_view motion : motions()) {
    for (const Subject& subject :
         {Subject{"circle", "half", "red", "white"}, Subject{"heart", "band", "green", "yellow"},
          Subject{"cross", "plain", "blue", "blue"}}) {
      Asked asked = kAsked;
      asked.subject = subject;
      asked.motion = motion;
      asked.reference_subjects = {{"square", "plain", "purple", "purple"}};
      const Scores s = scores(draw(subject, "teal", places(motion, 9)), asked);
      SCOPED_TRACE(std::string(motion) + " " + subject.shape);
      EXPECT_GT(s.appearance, .85);
      EXPECT_GT(s.motion, .93);
      EXPECT_EQ(s.contamination, 0);
      EXPECT_EQ(s.text, 1);
      EXPECT_EQ(s.validity, 1);
      EXPECT_GT(s.joint(), .9);
    }
  }
}

// Size, place and amplitude are free.
TEST(WorldScores, MotionIsFreeOfPlaceSizeAndAmplitude) {
  Tensor moved = places(kAsked.motion, 8, 5);
  moved.slice(1, 0, 2) = (moved.slice(1, 0, 2) - 16) * .8 + 16;
  moved.select(1, 0) += 1.7;
  EXPECT_GT(scores(draw(kAsked.subject, "teal", moved), kAsked).motion, .93);
}

TEST(WorldScores, EachWrongPartLowersItsOwnScore) {
  const Scores good = scores(truth(), kAsked);
  const auto of = [](const Subject& subject, std::string_view background, std::string_view motion) {
    return scores(draw(subject, background, places(motion, 8)), kAsked);
  };
  for (const std::string_view motion : motions()) {
    if (motion == kAsked.motion) continue;
    const Scores s = of(kAsked.subject, "teal", motion);
    EXPECT_LT(s.motion, .3) << motion;
    EXPECT_NEAR(s.appearance, good.appearance, .06) << motion;
  }
  const Scores shape = of({"triangle", "half", "red", "white"}, "teal", kAsked.motion);
  EXPECT_LT(shape.appearance, good.appearance - .2);
  EXPECT_GT(shape.motion, .9);
  const Scores swapped = of({"circle", "half", "white", "red"}, "teal", kAsked.motion);
  EXPECT_LT(swapped.appearance, .3);
  const Scores plain = of({"circle", "plain", "red", "red"}, "teal", kAsked.motion);
  EXPECT_LT(plain.appearance, .6);
  const Scores leaked = of({"circle", "half", "red", "blue"}, "teal", kAsked.motion);
  EXPECT_NEAR(leaked.contamination, .5, .05);
  EXPECT_EQ(leaked.text, 1);
  const Scores background = of(kAsked.subject, "navy", kAsked.motion);
  EXPECT_EQ(background.contamination, 1);
  EXPECT_EQ(background.text, 0);
  EXPECT_EQ(background.joint(), 0);
  EXPECT_EQ(of(kAsked.subject, "plum", kAsked.motion).contamination, 0) << "wrong, but no reference's";
}

TEST(WorldScores, TwoSpritesOrNoneAreInvalid) {
  Tensor second = places("still", 8, 3);
  second.slice(1, 0, 2) = 4;
  const Tensor two = at::maximum(truth(), draw(kAsked.subject, "teal", second));
  EXPECT_LT(scores(two, kAsked).validity, .3);
  Tensor half = truth().clone();
  half.slice(0, 4) = half[0].slice(1, 0, 1).slice(2, 0, 1);
  const Scores s = scores(half, kAsked);
  EXPECT_EQ(s.validity, .5);
  EXPECT_LE(s.appearance, .5);
  EXPECT_LT(s.motion, .1);
}

TEST(WorldScores, JointIsTheHarmonicMean) {
  EXPECT_NEAR((Scores{.5, .25, .5, 0, 0}.joint()), 3 / (2. + 4. + 2.), 1e-12);
  EXPECT_EQ((Scores{0, 1, 0, 1, 1}.joint()), 0);
}

// What users look at is the mp4: its losses must not hide the truth.
TEST(WorldScores, Mp4KeepsTheTruth) {
  const TemporaryFolder folder;
  const Tensor bytes = (truth() * 255).round().to(at::kByte).permute({0, 2, 3, 1}).contiguous();
  media::write_mp4(folder / "truth.mp4", bytes, 8);
  const Tensor read = media::read_clip(folder / "truth.mp4", {.start_s = 0, .fps = 8, .frames = 8});
  const Scores s = scores(read.permute({0, 3, 1, 2}).to(at::kFloat) / 255, kAsked);
  EXPECT_GT(s.appearance, .75);
  EXPECT_GT(s.motion, .9);
  EXPECT_LT(s.contamination, .05);
  EXPECT_GT(s.text, .99);
  EXPECT_EQ(s.validity, 1);
}

TEST(World, NamesWhatIsWrong) {
  EXPECT_ERROR(scores(at::zeros({8, 3, 64, 64}), kAsked), Error, "[8,3,64,64]", "[F,3,32,32]");
  EXPECT_ERROR(measure(at::zeros({8, 3, 32, 32}, at::kByte)), Error, "Byte");
  Asked asked = kAsked;
  asked.motion = "flying";
  EXPECT_ERROR(scores(truth(), asked), Error, "motion", "flying", "figure_eight");
  asked = kAsked;
  asked.reference_backgrounds = {"sky"};
  EXPECT_ERROR(scores(truth(), asked), Error, "background", "sky", "navy");
}

}  // namespace
}  // namespace jointtuner::evaluate::world
