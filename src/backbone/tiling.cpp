#include "jointtuner/backbone/tiling.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <algorithm>

#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::backbone {

using at::Tensor;

namespace {

constexpr int64_t kRows = -2, kColumns = -1;  // dimensions

/// b's first rows (columns) fade in where a's last fade out: a_i (1 - i/n) + b_i i/n.
void blend_into(const Tensor& a, Tensor& b, int64_t extent, int64_t dim) {
  extent = std::min({a.size(dim), b.size(dim), extent});
  if (extent == 0) return;
  Tensor weight = at::arange(extent, b.options().dtype(at::kFloat)).div_(extent);
  if (dim == kRows) weight = weight.unsqueeze(1);
  Tensor start = b.narrow(dim, 0, extent);
  const Tensor end = a.narrow(dim, a.size(dim) - extent, extent);
  start.mul_(weight).add_(end.mul(weight.neg().add_(1)));
}

void check_sides(const Tensor& result, int64_t height, int64_t width) {
  if (result.size(kRows) != height || result.size(kColumns) != width)
    throw Error(fmt::format("autoencoder: expected {} x {} for a tile or frame, found {}. Export the bundle again.",
                            height, width, shape_text(result.sizes())));
}

}  // namespace

int64_t tile_step(int64_t tile, double overlap) {
  const bool overlaps = overlap == 0 || static_cast<double>(tile) * overlap >= 1;
  return overlaps ? static_cast<int64_t>(static_cast<double>(tile) * (1 - overlap)) : 0;
}

Tiling::Tiling(int64_t height, int64_t width, int64_t tile, double overlap) : tile_(tile) {
  if (tile == 0 || (height <= tile && width <= tile)) {
    rows_ = {{0, height}};
    columns_ = {{0, width}};
    return;
  }
  step_ = tile_step(tile, overlap);
  if (step_ == 0)
    throw Error(fmt::format(
        "autoencoder: tiles {} latents wide are too small for an overlap of {}. Choose larger tiles.", tile, overlap));
  rows_ = spans(height, tile, step_);
  columns_ = spans(width, tile, step_);
}

std::vector<Tiling::Span> Tiling::spans(int64_t side, int64_t tile, int64_t step) {
  std::vector<Span> result;
  for (int64_t start = 0; start < side; start += step) result.push_back({start, std::min(tile, side - start)});
  return result;
}

Tensor Tiling::blended(int64_t factor, const std::function<Tensor(size_t index, const Tile& tile)>& work) const {
  size_t index = 0;
  const auto result_of = [&](const Span& row, const Span& column) {
    Tensor result = work(index++, {row.start, column.start, row.size, column.size});
    check_sides(result, row.size * factor, column.size * factor);
    return result;
  };
  if (count() == 1) return result_of(rows_.front(), columns_.front());
  const int64_t kept = step_ * factor, extent = (tile_ - step_) * factor;
  std::vector<Tensor> above, finished;
  for (const Span& row : rows_) {
    std::vector<Tensor> tiles, trimmed;
    for (const Span& column : columns_) {
      Tensor result = result_of(row, column);
      if (!above.empty()) blend_into(above[tiles.size()], result, extent, kRows);
      if (!tiles.empty()) blend_into(tiles.back(), result, extent, kColumns);
      trimmed.push_back(result.narrow(kRows, 0, std::min(kept, result.size(kRows)))
                            .narrow(kColumns, 0, std::min(kept, result.size(kColumns))));
      tiles.push_back(std::move(result));
    }
    finished.push_back(at::cat(trimmed, kColumns));
    above = std::move(tiles);
  }
  Tensor frame = at::cat(finished, kRows);
  check_sides(frame, (rows_.back().start + rows_.back().size) * factor,
              (columns_.back().start + columns_.back().size) * factor);
  return frame;
}

}  // namespace jointtuner::backbone
