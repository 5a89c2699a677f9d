// The procedural world of world/sprites.py: one bright sprite on one dark background, 32x32 pixels, any number of
// frames; a sprite colour has a channel above 0.8, a background none above 0.45. This is its drawing, for measuring.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace jointtuner::evaluate::world {

using at::Tensor;

constexpr int64_t kSize_px = 32;

struct Colour {
  std::string_view name;
  std::array<float, 3> rgb;  ///< 0..1
};
const std::vector<Colour>& sprite_colours();
const std::vector<Colour>& backgrounds();
const std::vector<std::string_view>& shapes();    // circle, square, triangle, cross, heart
const std::vector<std::string_view>& textures();  // plain, half (the right half in the second colour), band (level)
const std::vector<std::string_view>& motions();   // those of pretraining, then the held-out ones

struct Subject {
  std::string shape, texture, first, second;  ///< second equals first when plain
  bool operator==(const Subject&) const = default;
};

/// float64 [F,3]: x and y in pixels from the middle and the radius's factor, frame by frame, at amplitude 1.
/// Throws Error for an unknown motion.
Tensor motion_path(std::string_view motion, int64_t frames);

/// float32 [H,W] broadcast of u and v: signed distance to the shape's edge, negative inside; u to the right and v
/// downwards from the middle, all in radii. Throws Error for an unknown shape.
Tensor shape_distance(std::string_view shape, const Tensor& u, const Tensor& v);

/// float32 [F,3,32,32] in 0..1: the subject at places [F,3] (x, y, radius in pixels; x and y from the left upper
/// corner). Outer edges are one pixel wide, the edge between the two colours is sharp. Throws Error for an unknown
/// name.
Tensor draw(const Subject& subject, std::string_view background, const Tensor& places);

}  // namespace jointtuner::evaluate::world
