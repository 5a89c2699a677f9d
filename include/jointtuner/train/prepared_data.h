// What training reads: posteriors of latents and prompt embeddings, all in memory, no pixel and no text left.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "jointtuner/data/cache.h"
#include "jointtuner/data/item.h"
#include "jointtuner/data/joint_batches.h"

namespace jointtuner::train {

using at::Tensor;

class PreparedData {
 public:
  explicit PreparedData(std::vector<data::Item> items) : items_(std::move(items)) {}

  /// Posterior (mean and std fp32 [F,C,h,w], autoencoder's scale) of one draw. Throws Error for shapes that are not 4-D
  /// and equal.
  void set_posterior(const data::ItemDraw& draw, Posterior posterior);
  /// Prompt embedding [1,L,D] of every item with that caption.
  void set_embedding(const std::string& caption, Tensor embedding);

  const std::vector<data::Item>& items() const { return items_; }
  const data::Item& item(const data::ItemDraw& draw) const { return items_.at(static_cast<size_t>(draw.item)); }
  /// Throws Error naming the item when it was never set.
  const Posterior& posterior(const data::ItemDraw& draw) const;
  const Tensor& embedding(const data::ItemDraw& draw) const;

 private:
  std::vector<data::Item> items_;
  std::map<std::tuple<int64_t, bool, int64_t>, Posterior> posteriors_;
  std::map<std::string, Tensor> embeddings_;
};

}  // namespace jointtuner::train
