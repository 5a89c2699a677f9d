// One palette for a whole clip (median cut, Heckbert 1982), and the nearest colour of it.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

namespace jointtuner::media {

using Colour = std::array<uint8_t, 3>;

class Palette {
 public:
  // Of all pixels of uint8 [F,H,W,3]; at most `colours` entries. Works on cells of 8x8x8 levels, each weighted by its
  // pixels: the box with the most pixels times its longest side is cut at the median along that side, until there are
  // enough boxes; an entry is the mean of a box's pixels.
  Palette(const at::Tensor& video, int64_t colours);

  const std::vector<Colour>& colours() const { return colours_; }
  /// Index of the nearest entry (squared distance, weighted 2 4 1 as the eye does) to the centre of the cell that holds
  /// the colour.
  uint8_t nearest(int red, int green, int blue);

 private:
  std::vector<Colour> colours_;
  std::vector<int16_t> nearest_;  ///< by cell; -1 = not looked up yet
};

}  // namespace jointtuner::media
