// Many pictures and videos on one page.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace jointtuner::media {

using at::Tensor;

struct Sheet {
  std::vector<std::string> column_labels;  ///< as many as the grid has columns; all may be empty
  std::vector<std::string> row_labels;     ///< as many as the grid has rows; all may be empty
  std::vector<Tensor> cells = {};   ///< row by row: uint8 [H,W,3] a picture, [F,H,W,3] a video, undefined = left blank
  int64_t frames_per_video = 4;     ///< shown side by side, evenly spaced, the first and the last among them
  int64_t picture_height_px = 160;  ///< every picture is scaled to this height, keeping its aspect
};

/// uint8 [H,W,3]. Labels are drawn with OpenCV's built-in font, wrapped to the width they have; characters outside
/// ASCII, which it lacks, become "?". Throws Error when cells.size() != rows * columns, or a cell has another dtype or
/// shape.
Tensor contact_sheet(const Sheet& sheet);

}  // namespace jointtuner::media
