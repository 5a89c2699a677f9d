#include "jointtuner/data/joint_batches.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "jointtuner/base/safetensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::data {
namespace {

std::vector<Item> five_items() {
  std::vector<Item> items(5);
  for (Item& item : items) item.clip_starts_s = {0};
  items[3].kind = items[4].kind = Kind::video;
  items[3].clip_starts_s = {0, 0.5, 1};
  return items;
}

TEST(JointBatches, EqualPythonsDraws) {
  const Safetensors golden = load_safetensors(testing::golden("data/joint_batches.safetensors"));
  ASSERT_EQ(golden.tensors.size(), 4U);
  for (const auto& [key, tensor] : golden.tensors) {
    unsigned long long seed = 0;
    long long batch = 0;
    double flip = 0;
    ASSERT_EQ(std::sscanf(key.c_str(), "%llu/%lld/%lf", &seed, &batch, &flip), 3);
    const JointBatches batches(five_items(), seed, batch, flip);
    for (int64_t m = tensor.size(0) - 1; m >= 0; --m) {  // backwards: there is no state
      const JointBatch found = batches.at(m);
      EXPECT_EQ(found.micro_step, m);
      EXPECT_EQ(found.epoch, m * batch / 5);
      ASSERT_EQ(static_cast<int64_t>(found.draws.size()), batch);
      for (int64_t b = 0; b < batch; ++b) {
        const auto* row = tensor[m][b].const_data_ptr<int64_t>();
        EXPECT_EQ(found.draws[static_cast<size_t>(b)], (ItemDraw{row[0], row[1] != 0, row[2]}))
            << key << " step " << m << " item " << b;
      }
    }
  }
}

TEST(JointBatches, EveryEpochHoldsEveryItemOnce) {
  for (const int64_t batch : {1, 2, 3, 5, 7}) {
    const JointBatches batches(five_items(), 3, batch, 0.5);
    std::vector<int64_t> seen;
    for (int64_t m = 0; m < 35; ++m)
      for (const ItemDraw& draw : batches.at(m).draws) seen.push_back(draw.item);
    for (size_t epoch = 0; epoch + 5 <= seen.size(); epoch += 5)
      EXPECT_EQ(std::set<int64_t>(seen.begin() + static_cast<long>(epoch), seen.begin() + static_cast<long>(epoch) + 5)
                    .size(),
                5U);
  }
}

TEST(JointBatches, FlipsOnlyImagesAndClipsOnlyVideos) {
  int flipped = 0, images = 0;
  std::set<int64_t> clips;
  const JointBatches batches(five_items(), 11, 1, 0.25);
  for (int64_t m = 0; m < 1000; ++m) {
    const ItemDraw draw = batches.at(m).draws[0];
    if (draw.item < 3) {
      ++images;
      flipped += draw.flip ? 1 : 0;
      EXPECT_EQ(draw.clip, 0);
    } else {
      EXPECT_FALSE(draw.flip);
      if (draw.item == 3) clips.insert(draw.clip);
    }
  }
  EXPECT_EQ(images, 600);
  EXPECT_NEAR(flipped / 600.0, 0.25, 0.071);  // 4 standard deviations
  EXPECT_EQ(clips, (std::set<int64_t>{0, 1, 2}));
}

TEST(AllDraws, ListsWhatCanOccur) {
  const std::vector<Item> items = five_items();
  const std::vector<ItemDraw> wanted = {{0, false, 0}, {0, true, 0},  {1, false, 0}, {1, true, 0},  {2, false, 0},
                                        {2, true, 0},  {3, false, 0}, {3, false, 1}, {3, false, 2}, {4, false, 0}};
  EXPECT_EQ(all_draws(items, 0.5), wanted);
  EXPECT_EQ(all_draws(items, 0).size(), 7U);
  EXPECT_EQ(all_draws(items, 1).size(), 7U);
  EXPECT_TRUE(all_draws(items, 1)[0].flip);
}

TEST(JointBatches, RefuseNonsense) {
  EXPECT_ERROR(JointBatches({}, 0, 1, 0.5), Error, "at least 1 item");
  EXPECT_ERROR(JointBatches(five_items(), 0, 0, 0.5), Error, "batch of at least 1");
  EXPECT_ERROR(JointBatches(five_items(), 0, 1, 1.5), Error, "image_flip in [0, 1]");
}

}  // namespace
}  // namespace jointtuner::data
