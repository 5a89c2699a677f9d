#include "jointtuner/backbone/positional.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <variant>
#include <vector>

#include "jointtuner/base/error.h"

namespace jointtuner::backbone {
namespace {

/// Tokens along frames, rows and columns.
struct TokenGrid {
  int64_t frames, height, width;
};

/// One axis' table: a row of numbers for each place along frames, rows or columns.
struct AxisTables {
  Tensor frames, rows, columns;
};

constexpr auto kFloat32 = at::kFloat;

int64_t patches(int64_t size, int64_t patch, const char* what) {
  if (size < 1 || size % patch != 0) {
    const int64_t below = size / patch * patch;
    throw Error(fmt::format("positions: expected latents with {} divisible by {}, found {}; nearest are {}{}", what,
                            patch, size, below > 0 ? fmt::format("{} and ", below) : "", below + patch));
  }
  return size / patch;
}

void check_width(int64_t width, const char* field) {
  // A quarter for frames, three eighths for rows and for columns, and each in pairs.
  if (width < 16 || width % 16 != 0)
    throw Error(fmt::format("denoiser.positional.{}: expected a multiple of 16, found {}", field, width));
}

/// [S, total width]: each token's numbers of its frame, row and column; `order` is the order of the three.
Tensor token_table(const AxisTables& tables, const TokenGrid& grid, const std::array<int, 3>& order) {
  const std::array<Tensor, 3> axes{tables.frames.view({grid.frames, 1, 1, -1}),
                                   tables.rows.view({1, grid.height, 1, -1}),
                                   tables.columns.view({1, 1, grid.width, -1})};
  std::vector<Tensor> parts;
  for (const int axis : order) {
    const Tensor& table = axes[static_cast<size_t>(axis)];
    parts.push_back(table.expand({grid.frames, grid.height, grid.width, table.size(3)}));
  }
  return at::cat(parts, 3).flatten(0, 2);
}

/// diffusers' own operations, in its order and dtypes: float32 positions, float64 frequencies and angles.
Tensor sincos(const Tensor& position, int64_t width) {
  Tensor exponent = at::arange(width / 2, at::TensorOptions().dtype(at::kDouble));
  exponent /= static_cast<double>(width) / 2.0;
  const Tensor angle = at::outer(position, at::pow(10000, exponent).reciprocal());
  return at::cat({angle.sin(), angle.cos()}, 1).to(kFloat32);
}

Tensor whole_numbers(int64_t count) { return at::arange(count, at::TensorOptions().dtype(kFloat32)); }

std::map<std::string, Tensor> inputs(const Sincos3d& kind, int64_t frames, int64_t height, int64_t width) {
  check_width(kind.width, "width");
  const TokenGrid grid{frames, patches(height, kind.patch, "a height"), patches(width, kind.patch, "a width")};
  const int64_t spatial = kind.width / 4 * 3 / 2;
  const AxisTables tables{sincos(whole_numbers(grid.frames) / kind.temporal_scale, kind.width / 4),
                          sincos(whole_numbers(grid.height) / kind.spatial_scale, spatial),
                          sincos(whole_numbers(grid.width) / kind.spatial_scale, spatial)};
  return {{"positional_table", token_table(tables, grid, {0, 2, 1})}};
}

/// Half to even, as Python rounds.
int64_t rounded(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

/// Where the token grid lies on the base grid, in patches.
struct Crop {
  int64_t top, left, bottom, right;
};

Crop crop(const TokenGrid& grid, const Rope3d& kind) {
  const auto height = static_cast<double>(grid.height), width = static_cast<double>(grid.width);
  const auto base_height = static_cast<double>(kind.base_height), base_width = static_cast<double>(kind.base_width);
  int64_t resized_height = kind.base_height, resized_width = kind.base_width;
  if (height / width > base_height / base_width)
    resized_width = rounded(base_height / height * width);
  else
    resized_height = rounded(base_width / width * height);
  const int64_t top = rounded(static_cast<double>(kind.base_height - resized_height) / 2.0);
  const int64_t left = rounded(static_cast<double>(kind.base_width - resized_width) / 2.0);
  return {top, left, top + resized_height, left + resized_width};
}

/// `count` positions from `start`, `stop` excluded.
Tensor spread(int64_t start, int64_t stop, int64_t count) {
  // As published. Where the start is not 0 this is not the spacing of the base grid, but a little narrower.
  const double last = static_cast<double>(stop * (count - 1)) / static_cast<double>(count);
  return at::linspace(start, last, count, at::TensorOptions().dtype(kFloat32));
}

void check_slice(const TokenGrid& grid, const Rope3d& kind) {
  if (grid.height <= kind.base_height && grid.width <= kind.base_width) return;
  throw Error(fmt::format(
      "positions: expected latents of at most {} x {} (height x width), the grid that this denoiser "
      "knows positions of, found {} x {}; choose a smaller video size",
      kind.base_height * kind.patch, kind.base_width * kind.patch, grid.height * kind.patch, grid.width * kind.patch));
}

/// Angles [positions, width], each frequency twice in a row.
Tensor angles(const Tensor& position, int64_t width, double theta) {
  const Tensor exponent = at::arange(0, width, 2, at::TensorOptions().dtype(kFloat32)) / width;
  return at::outer(position, at::pow(theta, exponent).reciprocal());
}

std::map<std::string, Tensor> inputs(const Rope3d& kind, int64_t frames, int64_t height, int64_t width) {
  check_width(kind.head_dim, "head_dim");
  const TokenGrid grid{patches(frames, kind.patch_frames, "a number of frames"),
                       patches(height, kind.patch, "a height"), patches(width, kind.patch, "a width")};
  Tensor rows = whole_numbers(grid.height), columns = whole_numbers(grid.width);
  if (kind.grid == "slice") {
    check_slice(grid, kind);
  } else {
    const Crop at = crop(grid, kind);
    rows = spread(at.top, at.bottom, grid.height);
    columns = spread(at.left, at.right, grid.width);
  }
  const int64_t spatial = kind.head_dim / 8 * 3;
  const AxisTables tables{angles(whole_numbers(grid.frames), kind.head_dim / 4, kind.theta),
                          angles(rows, spatial, kind.theta), angles(columns, spatial, kind.theta)};
  const auto table = [&](Tensor (Tensor::*function)() const) {
    const auto twice = [&](const Tensor& angle) { return (angle.*function)().repeat_interleave(2, 1); };
    return token_table({twice(tables.frames), twice(tables.rows), twice(tables.columns)}, grid, {0, 1, 2});
  };
  return {{"rope_cos", table(&Tensor::cos)}, {"rope_sin", table(&Tensor::sin)}};
}

std::map<std::string, Tensor> inputs(const NoPositional&, int64_t, int64_t, int64_t) { return {}; }

}  // namespace

std::map<std::string, Tensor> positional_inputs(const PositionalManifest& positional, int64_t latent_frames,
                                                int64_t latent_height, int64_t latent_width) {
  return std::visit([&](const auto& kind) { return inputs(kind, latent_frames, latent_height, latent_width); },
                    positional);
}

}  // namespace jointtuner::backbone
