// Image files, through OpenCV.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

namespace jointtuner::media {

using at::Tensor;

/// uint8 [H,W,3], RGB, as a viewer shows it: the EXIF orientation is applied, grey becomes RGB, 16 bit become 8 by
/// round(v / 257), floating point by round(255 * clamp(v, 0, 1)), transparency is laid over white (a picture with an
/// alpha channel keeps the orientation of its pixels). Of several pages the first is read. Throws Error that names the
/// file when it is missing, no regular file, empty, cut off, or nothing that OpenCV reads.
Tensor read_image(const std::filesystem::path& path);

/// The PNG file of image uint8 [H,W,3] on the CPU. The bytes depend on the pixels alone.
std::string png_bytes(const Tensor& image);
/// png_bytes, written atomically.
void write_png(const std::filesystem::path& path, const Tensor& image);

}  // namespace jointtuner::media
