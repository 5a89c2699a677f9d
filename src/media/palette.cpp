#include "palette.h"

#include <algorithm>
#include <numeric>

namespace jointtuner::media {
namespace {

constexpr int kCellBits = 5, kShift = 8 - kCellBits, kCells = 1 << (3 * kCellBits);

size_t cell_of(int red, int green, int blue) {
  return static_cast<size_t>(red >> kShift) << (2 * kCellBits) | static_cast<size_t>(green >> kShift) << kCellBits |
         static_cast<size_t>(blue >> kShift);
}

struct Cell {
  std::array<int64_t, 3> sum{};
  int64_t pixels = 0;
  double mean(int channel) const {
    return static_cast<double>(sum[static_cast<size_t>(channel)]) / static_cast<double>(pixels);
  }
};

std::vector<Cell> occupied_cells(const at::Tensor& video) {
  std::vector<Cell> cells(kCells);
  const auto* pixel = video.const_data_ptr<uint8_t>();
  for (const uint8_t* end = pixel + video.numel(); pixel != end; pixel += 3) {
    Cell& cell = cells[cell_of(pixel[0], pixel[1], pixel[2])];
    for (size_t channel = 0; channel < 3; ++channel) cell.sum[channel] += pixel[channel];
    ++cell.pixels;
  }
  std::erase_if(cells, [](const Cell& cell) { return cell.pixels == 0; });
  return cells;
}

/// Cells [begin, end) of the list.
struct Box {
  std::vector<Cell>::iterator begin, end;
  int longest = 0;     ///< channel
  double urgency = 0;  ///< pixels times side; 0 when it cannot be cut

  Box(std::vector<Cell>::iterator first, std::vector<Cell>::iterator last) : begin(first), end(last) {
    double side = 0;
    for (int channel = 0; channel < 3; ++channel) {
      const auto [low, high] = std::minmax_element(
          begin, end, [channel](const Cell& a, const Cell& b) { return a.mean(channel) < b.mean(channel); });
      if (high->mean(channel) - low->mean(channel) > side) {
        side = high->mean(channel) - low->mean(channel);
        longest = channel;
      }
    }
    urgency = end - begin < 2 ? 0 : side * static_cast<double>(pixels());
  }
  int64_t pixels() const {
    return std::accumulate(begin, end, int64_t{0}, [](int64_t sum, const Cell& cell) { return sum + cell.pixels; });
  }
  /// Sorts along the longest side; both parts get at least one cell.
  std::vector<Cell>::iterator median() {
    std::sort(begin, end, [this](const Cell& a, const Cell& b) { return a.mean(longest) < b.mean(longest); });
    const int64_t half = pixels() / 2;
    int64_t sum = begin->pixels;
    auto cut = begin + 1;
    while (cut + 1 != end && sum < half) sum += (cut++)->pixels;
    return cut;
  }
  Colour mean() const {
    Colour colour{};
    for (size_t channel = 0; channel < 3; ++channel) {
      const int64_t sum = std::accumulate(
          begin, end, int64_t{0}, [channel](int64_t total, const Cell& cell) { return total + cell.sum[channel]; });
      colour[channel] = static_cast<uint8_t>((2 * sum + pixels()) / (2 * pixels()));
    }
    return colour;
  }
};

}  // namespace

Palette::Palette(const at::Tensor& video, int64_t colours) : nearest_(kCells, -1) {
  std::vector<Cell> cells = occupied_cells(video);
  std::vector<Box> boxes{Box(cells.begin(), cells.end())};
  while (static_cast<int64_t>(boxes.size()) < colours) {
    const auto box =
        std::max_element(boxes.begin(), boxes.end(), [](const Box& a, const Box& b) { return a.urgency < b.urgency; });
    if (box->urgency == 0) break;
    const auto cut = box->median(), end = box->end;
    *box = Box(box->begin, cut);
    boxes.emplace_back(cut, end);
  }
  for (const Box& box : boxes) colours_.push_back(box.mean());
}

uint8_t Palette::nearest(int red, int green, int blue) {
  const size_t cell = cell_of(red, green, blue);
  if (nearest_[cell] < 0) {
    const auto centre = [](int level) { return (level >> kShift << kShift) + (1 << (kShift - 1)); };
    const auto distance = [&](const Colour& colour) {
      const int r = colour[0] - centre(red), g = colour[1] - centre(green), b = colour[2] - centre(blue);
      return 2 * r * r + 4 * g * g + b * b;
    };
    const auto best = std::min_element(colours_.begin(), colours_.end(),
                                       [&](const Colour& a, const Colour& b) { return distance(a) < distance(b); });
    nearest_[cell] = static_cast<int16_t>(best - colours_.begin());
  }
  return static_cast<uint8_t>(nearest_[cell]);
}

}  // namespace jointtuner::media
