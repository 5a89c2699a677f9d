// What can be set about the frozen backbone.
#pragma once
#include <cstdint>
#include <string>

#include "jointtuner/base/field.h"

namespace jointtuner::backbone {

struct BackboneOptions {
  std::string bundle;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("bundle", o.bundle,
          "bundle folder written by scripts/export_backbone.sh: the frozen model with its bundle.json");
  }
};

/// Bounds the memory of the autoencoder; a clip's length never adds to it. Slicing never changes a result; tiling
/// changes it slightly (each tile is coded without seeing beyond its border) and therefore is off unless asked for.
struct AutoencoderOptions {
  int64_t slice_frames = 4;
  int64_t tile_px = 0;
  int64_t encode_tile_px = 0;
  double tile_overlap = 0.25;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("slice_frames", o.slice_frames,
          "frames that pass through the autoencoder at once; without effect on one that is causal in time, which takes "
          "chunks of the length it was made for",
          Range{1, 1024});
    field("tile_px", o.tile_px, "side of the square tiles of a decoded frame, in pixels; 0 decodes frames whole",
          Range{0, 8192});
    field("encode_tile_px", o.encode_tile_px,
          "side of the square tiles of an encoded frame, in pixels; 0 encodes frames whole", Range{0, 8192});
    field("tile_overlap", o.tile_overlap, "part of a tile's side that it shares with its neighbour, blended",
          Range{0.0, 0.75});
  }
};

}  // namespace jointtuner::backbone
