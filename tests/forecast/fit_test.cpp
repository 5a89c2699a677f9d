#include "jointtuner/forecast/fit.h"

#include <gtest/gtest.h>

#include "counted.h"
#include "jointtuner/forecast/segments.h"
#include "support/expect_error.h"

namespace jointtuner::forecast {
namespace {

using inject::SegmentMemory;

struct UNet {
  backbone::Bundle bundle = backbone::Bundle::open(testing::golden_bundle("nano_bundle"));
  Work work = work_of({"nano_bundle", 64, 64, 8, SegmentMemory::keep, 2}, bundle.manifest());
};

std::vector<std::string> settings_of(const std::vector<Change>& changes) {
  std::vector<std::string> texts;
  for (const Change& change : changes) texts.push_back(change.settings);
  return texts;
}

TEST(Fit, RequiredOnACardHasBlocksAndWorkSpaces) {
  Stage stage;
  stage.weights = 1000;
  stage.adapters = 200;
  stage.activations = 30;
  stage.rounding = 4;
  EXPECT_EQ(required(stage, at::kCPU), 1230);
  EXPECT_EQ(required(stage, at::kCUDA), 1234 + (32 << 20) + (256 << 20));
  EXPECT_EQ(usable(int64_t{24} << 30, at::kCUDA), (int64_t{24} << 30) - (512 << 20));
  EXPECT_EQ(usable(1000, at::kCPU), 1000);
  EXPECT_EQ(usable(1000, at::kCUDA), 0);
}

TEST(Fit, ChangesOfTrainingComeCheapestFirstEachWithItsOwnForecast) {
  const UNet unet;
  const auto changes = changes_to_fit(unet.bundle, unet.work, "train", 1, at::kCPU);
  EXPECT_EQ(settings_of(changes),
            (std::vector<std::string>{"train.batch=1 train.accumulation=2", "train.activation_checkpointing=on",
                                      "train.activation_checkpointing=offload", "data.frames=4", "data.frames=2",
                                      "data.frames=1"}));
  int64_t before = train(unet.bundle, unet.work, at::kCPU).peak();
  for (const Change& change : changes) {
    EXPECT_LE(change.stage.peak(), before) << change.settings;
    EXPECT_FALSE(change.fits);
    before = change.stage.peak();
  }
  EXPECT_GT(changes[2].stage.host, 0);

  Work changed = unet.work;
  changed.train.batch = 1;
  EXPECT_EQ(train(unet.bundle, changed, at::kCPU).peak(), changes[0].stage.peak());
  changed.segment_memory = {SegmentMemory::recompute};
  const int64_t enough = train(unet.bundle, changed, at::kCPU).peak();
  EXPECT_EQ(enough, changes[1].stage.peak());
  const auto until_it_fits = changes_to_fit(unet.bundle, unet.work, "train", enough, at::kCPU);
  ASSERT_EQ(until_it_fits.size(), 2U);
  EXPECT_TRUE(until_it_fits.back().fits);
}

TEST(Fit, AChangeFitsTogetherWithTheWorkSpaces) {
  const UNet unet;
  const auto first = [&](int64_t free) {
    return changes_to_fit(unet.bundle, unet.work, "encode latents", free, at::kCUDA).front();
  };
  const int64_t enough = required(first(0).stage, at::kCUDA);
  EXPECT_TRUE(first(enough).fits);
  EXPECT_FALSE(first(enough - 1).fits);
}

TEST(Fit, ABatchThatSharesAGateIsNotSplit) {
  UNet unet;
  unet.work.adapter.gate_pooling = "batch";
  EXPECT_EQ(settings_of(changes_to_fit(unet.bundle, unet.work, "train", 1, at::kCPU)).front(),
            "train.activation_checkpointing=on");
}

TEST(Fit, ChangesOfTheOtherStages) {
  UNet unet;
  unet.work.previews = true;
  EXPECT_EQ(settings_of(changes_to_fit(unet.bundle, unet.work, "decode", 1, at::kCPU)),
            (std::vector<std::string>{"sample.decode_slice=1", "sample.decode_tile=32", "sample.decode_tile=16",
                                      "sample.decode_tile=8", "preview.every=0"}));
  EXPECT_EQ(settings_of(changes_to_fit(unet.bundle, unet.work, "encode latents", 1, at::kCPU)),
            (std::vector<std::string>{"data.encode_tile=32", "data.encode_tile=16", "data.encode_tile=8"}));
  EXPECT_EQ(settings_of(changes_to_fit(unet.bundle, unet.work, "preview", 1, at::kCPU)).front(), "preview.every=0");
  EXPECT_TRUE(changes_to_fit(unet.bundle, unet.work, "encode text", 1, at::kCPU).empty());
  EXPECT_ERROR(changes_to_fit(unet.bundle, unet.work, "training", 1, at::kCPU), Error, "no stage 'training'");
}

TEST(Fit, FramesAreThoseThatTheBackboneTakes) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle("nano_2b_bundle"));
  const Work work = work_of({"nano_2b_bundle", 32, 48, 17, SegmentMemory::offload}, bundle.manifest());
  EXPECT_EQ(settings_of(changes_to_fit(bundle, work, "train", 1, at::kCPU)),
            (std::vector<std::string>{"data.frames=9", "data.frames=5", "data.frames=1"}));
}

int64_t recomputed(const SegmentChoice& choice) {
  return std::count(choice.memory.begin(), choice.memory.end(), SegmentMemory::recompute);
}

class Segments : public ::testing::TestWithParam<const char*> {};

TEST_P(Segments, AreRecomputedNoMoreThanTheMemoryAsks) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle(GetParam()));
  Work work = work_of({GetParam(), 64, 64, 9, SegmentMemory::keep}, bundle.manifest());
  const int64_t most = train(bundle, work, at::kCPU).peak();
  work.segment_memory = {SegmentMemory::recompute};
  const int64_t least = train(bundle, work, at::kCPU).peak();
  ASSERT_LT(least, most);

  const SegmentChoice free = segments_to_fit(bundle, work, most, at::kCPU);
  EXPECT_TRUE(free.fits);
  EXPECT_EQ(recomputed(free), 0);
  int64_t before = 0;
  for (const int64_t memory : {most - 1, (most + least) / 2, least}) {
    const SegmentChoice choice = segments_to_fit(bundle, work, memory, at::kCPU);
    EXPECT_TRUE(choice.fits);
    EXPECT_LE(choice.stage.peak(), memory);
    EXPECT_GE(recomputed(choice), std::max<int64_t>(before, 1));
    work.segment_memory = choice.memory;
    EXPECT_EQ(train(bundle, work, at::kCPU).peak(), choice.stage.peak()) << "a run of its own sees the same";
    before = recomputed(choice);
  }
  const SegmentChoice none = segments_to_fit(bundle, work, 1, at::kCPU);
  EXPECT_FALSE(none.fits);
  EXPECT_EQ(none.memory.front(), SegmentMemory::offload);
}

INSTANTIATE_TEST_SUITE_P(Bundles, Segments, ::testing::Values("nano_bundle", "nano_2b_bundle"),
                         [](const auto& one) { return std::string(one.param); });

TEST(SegmentsOrder, WhatSavesMostIsRecomputedFirst) {
  const UNet unet;
  Work work = unet.work;
  const int64_t most = train(unet.bundle, work, at::kCPU).peak();
  const SegmentChoice choice = segments_to_fit(unet.bundle, work, most - 1, at::kCPU);
  ASSERT_LT(recomputed(choice), static_cast<int64_t>(choice.memory.size()) / 2);
  const int64_t saved = most - choice.stage.peak();
  // The same number of segments from the other end saves less.
  std::vector<SegmentMemory> others(choice.memory.size(), SegmentMemory::keep);
  int64_t left = recomputed(choice);
  for (size_t i = others.size(); i-- > 0 && left > 0;) {
    if (choice.memory[i] == SegmentMemory::recompute) continue;
    others[i] = SegmentMemory::recompute;
    --left;
  }
  work.segment_memory = others;
  EXPECT_LT(most - train(unet.bundle, work, at::kCPU).peak(), saved);
}

/// Segments save unequally: in the right order 6 of the 25 save half, least first 20.
TEST(SegmentsOrder, HalfOfWhatCanBeSavedAsksForFewOfTheSegments) {
  const UNet unet;
  Work work = unet.work;
  const int64_t most = train(unet.bundle, work, at::kCPU).peak();
  work.segment_memory = {SegmentMemory::recompute};
  const int64_t least = train(unet.bundle, work, at::kCPU).peak();
  const SegmentChoice choice = segments_to_fit(unet.bundle, work, (most + least) / 2, at::kCPU);
  EXPECT_TRUE(choice.fits);
  EXPECT_LT(recomputed(choice), static_cast<int64_t>(choice.memory.size()) / 3);
}

}  // namespace
}  // namespace jointtuner::forecast
