// Square tiles that overlap, and the frame that their results blend to. For the autoencoder's kinds.
//
// diffusers' tiled_encode and tiled_decode (AutoencoderKL, AutoencoderKLCogVideoX of diffusers 0.42.1) with the same
// tile size and overlap factor for both sides: tiles of `tile` latents start every int(tile * (1 - overlap)) latents as
// long as they start inside the frame; a tile's first rows (columns) fade in where those of its neighbour above (left)
// fade out. Deviation: what is kept of a tile is exactly the step to the next one. diffusers rounds the two apart and
// gives a frame of another size where tile * overlap is no whole number.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace jointtuner::backbone {

inline constexpr double kTileOverlap = 0.25;  ///< part of a tile's side that it shares with its neighbour

/// Latents from one tile to the next. 0 where tiles this small cannot overlap by a latent and still advance.
int64_t tile_step(int64_t tile, double overlap = kTileOverlap);

struct Tile {
  int64_t y = 0, x = 0, height = 0, width = 0;  ///< latents
};

class Tiling {
 public:
  /// Of a frame of height x width latents; tile 0, or a frame that fits into a tile: one tile, the whole frame. The
  /// last tile of a row or column is cut at the frame's border. Throws Error for tiles too small (tile_step 0).
  Tiling(int64_t height, int64_t width, int64_t tile, double overlap = kTileOverlap);

  size_t count() const { return rows_.size() * columns_.size(); }

  /// work(index, tile), index counting from 0 row by row, gives the tile's result
  /// [..., tile.height * factor, tile.width * factor]; returns the frame's [..., height * factor, width * factor].
  /// Besides the result, two rows of tiles are held. Throws Error for results of another size.
  at::Tensor blended(int64_t factor, const std::function<at::Tensor(size_t index, const Tile& tile)>& work) const;

 private:
  struct Span {
    int64_t start = 0, size = 0;
  };
  static std::vector<Span> spans(int64_t side, int64_t tile, int64_t step);

  int64_t tile_ = 0, step_ = 0;
  std::vector<Span> rows_, columns_;
};

}  // namespace jointtuner::backbone
