#include "jointtuner/train/prepared_data.h"

#include <fmt/format.h>

#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::train {

namespace {

std::tuple<int64_t, bool, int64_t> key(const data::ItemDraw& draw) { return {draw.item, draw.flip, draw.clip}; }

}  // namespace

void PreparedData::set_posterior(const data::ItemDraw& draw, Posterior posterior) {
  const std::string what = item(draw).path.string() + ": posterior";
  check_shape(posterior.mean, {-1, -1, -1, -1}, what);
  if (posterior.std.sizes() != posterior.mean.sizes())
    throw Error(fmt::format("{}: mean is {} but std is {}", what, shape_text(posterior.mean.sizes()),
                            shape_text(posterior.std.sizes())));
  posteriors_[key(draw)] = std::move(posterior);
}

void PreparedData::set_embedding(const std::string& caption, Tensor embedding) {
  check_shape(embedding, {1, -1, -1}, "prompt embedding of '" + caption + "'");
  embeddings_[caption] = std::move(embedding);
}

const Posterior& PreparedData::posterior(const data::ItemDraw& draw) const {
  const auto found = posteriors_.find(key(draw));
  if (found == posteriors_.end())
    throw Error(fmt::format("{}: no posterior was prepared for flip {}, clip {}", item(draw).path.string(), draw.flip,
                            draw.clip));
  return found->second;
}

const Tensor& PreparedData::embedding(const data::ItemDraw& draw) const {
  const auto found = embeddings_.find(item(draw).caption);
  if (found == embeddings_.end())
    throw Error(fmt::format("{}: no prompt embedding was prepared for its caption '{}'", item(draw).path.string(),
                            item(draw).caption));
  return found->second;
}

}  // namespace jointtuner::train
