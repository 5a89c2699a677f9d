// Which items make up micro-batch m, as a pure function of (seed, m): a resumed run sees what an uninterrupted one
// would have.
#pragma once
#include <cstdint>
#include <vector>

#include "jointtuner/data/item.h"

namespace jointtuner::data {

/// One item of a batch, and how it is taken.
struct ItemDraw {
  int64_t item = 0;   ///< index into Listing::items
  bool flip = false;  ///< images: mirrored left to right
  int64_t clip = 0;   ///< videos: index into Item::clip_starts_s
  bool operator==(const ItemDraw&) const = default;
};

struct JointBatch {
  int64_t micro_step = 0;
  int64_t epoch = 0;            ///< of the first item
  std::vector<ItemDraw> draws;  ///< B of them, in order of drawing (images and videos mixed)
};

/// With n items and batch size B, micro-batch m takes places m*B ... m*B + B-1 of one endless sequence; place p belongs
/// to epoch e = p / n and is item randperm(n)[p % n], the permutation drawn from generator(seed, e, "order"). A batch
/// may cross epochs. u = rand([B]) from generator(seed, m, "flip"): draw b, an image, is mirrored when u[b] <
/// image_flip. v = rand([B]) from generator(seed, m, "clip_start"): draw b, a video, takes clip floor(v[b] * number of
/// its clip starts).
class JointBatches {
 public:
  // Throws Error when items is empty, batch < 1 or image_flip is outside [0, 1].
  JointBatches(const std::vector<Item>& items, uint64_t seed, int64_t batch, double image_flip);

  JointBatch at(int64_t micro_step) const;

 private:
  struct Choice {
    Kind kind;
    int64_t clips;
  };
  std::vector<Choice> items_;
  uint64_t seed_;
  int64_t batch_;
  double image_flip_;
};

/// Every draw that can occur, in item order (clips in order; unflipped before flipped, flipped only when image_flip >
/// 0, unflipped only when image_flip < 1): what has to be encoded before training.
std::vector<ItemDraw> all_draws(const std::vector<Item>& items, double image_flip);

}  // namespace jointtuner::data
