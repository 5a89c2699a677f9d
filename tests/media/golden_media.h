// The files of tests/goldens/media and what Python makes of them.
#pragma once
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "jointtuner/base/safetensors.h"
#include "support/temporary_folder.h"

namespace jointtuner::media {

inline std::filesystem::path media_file(const std::string& name) { return testing::golden("media") / name; }

inline const Safetensors& expected() {
  static const Safetensors file = load_safetensors(media_file("expected.safetensors"));
  return file;
}

/// Largest and mean absolute difference of two uint8 tensors of one shape, in grey levels.
struct Difference {
  double largest = 0;
  double mean = 0;
};
inline Difference difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor apart = (a.to(at::kFloat) - b.to(at::kFloat)).abs();
  return {apart.max().item<double>(), apart.mean().item<double>()};
}

}  // namespace jointtuner::media
