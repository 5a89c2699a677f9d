#include "jointtuner/data/joint_batches.h"

#include <ATen/ops/randperm.h>
#include <fmt/format.h>

#include <algorithm>

#include "jointtuner/base/error.h"
#include "jointtuner/base/generator.h"

namespace jointtuner::data {
namespace {

at::Tensor permutation(uint64_t seed, int64_t epoch, int64_t count) {
  return at::randperm(count, generator(seed, epoch, "order"), at::TensorOptions().dtype(at::kLong));
}

}  // namespace

JointBatches::JointBatches(const std::vector<Item>& items, uint64_t seed, int64_t batch, double image_flip)
    : seed_(seed), batch_(batch), image_flip_(image_flip) {
  if (items.empty() || batch < 1 || !(image_flip >= 0 && image_flip <= 1))
    throw Error(fmt::format(
        "batches need at least 1 item, a batch of at least 1 and image_flip in [0, 1]; found {}, {} and {:g}",
        items.size(), batch, image_flip));
  for (const Item& item : items) items_.push_back({item.kind, static_cast<int64_t>(item.clip_starts_s.size())});
}

JointBatch JointBatches::at(int64_t micro_step) const {
  const auto count = static_cast<int64_t>(items_.size());
  const int64_t first = micro_step * batch_;
  JointBatch batch{.micro_step = micro_step, .epoch = first / count, .draws = {}};
  const at::Tensor flip = uniform_draw({batch_}, generator(seed_, micro_step, "flip"));
  const at::Tensor start = uniform_draw({batch_}, generator(seed_, micro_step, "clip_start"));
  const float* flips = flip.const_data_ptr<float>();
  const float* starts = start.const_data_ptr<float>();
  at::Tensor order = permutation(seed_, batch.epoch, count);
  for (int64_t b = 0; b < batch_; ++b) {
    const int64_t place = first + b;
    if (b > 0 && place % count == 0) order = permutation(seed_, place / count, count);
    ItemDraw draw;
    draw.item = order.const_data_ptr<int64_t>()[place % count];
    const Choice& choice = items_[static_cast<size_t>(draw.item)];
    if (choice.kind == Kind::image) {
      draw.flip = static_cast<double>(flips[b]) < image_flip_;
    } else {
      const auto clip = static_cast<int64_t>(static_cast<double>(starts[b]) * static_cast<double>(choice.clips));
      draw.clip = std::min(clip, choice.clips - 1);
    }
    batch.draws.push_back(draw);
  }
  return batch;
}

std::vector<ItemDraw> all_draws(const std::vector<Item>& items, double image_flip) {
  std::vector<ItemDraw> draws;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto item = static_cast<int64_t>(i);
    if (items[i].kind == Kind::image) {
      if (image_flip < 1) draws.push_back({.item = item, .flip = false, .clip = 0});
      if (image_flip > 0) draws.push_back({.item = item, .flip = true, .clip = 0});
      continue;
    }
    for (size_t clip = 0; clip < items[i].clip_starts_s.size(); ++clip)
      draws.push_back({.item = item, .flip = false, .clip = static_cast<int64_t>(clip)});
  }
  return draws;
}

}  // namespace jointtuner::data
