#include "jointtuner/base/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "jointtuner/base/error.h"

namespace jointtuner {

std::string shape_text(at::IntArrayRef sizes) {
  return fmt::format("[{}]", fmt::join(sizes.begin(), sizes.end(), ", "));
}

void check_shape(const at::Tensor& tensor, std::initializer_list<int64_t> sizes, std::string_view what) {
  bool same = tensor.defined() && tensor.dim() == static_cast<int64_t>(sizes.size());
  std::vector<std::string> wanted;
  int64_t axis = 0;
  for (const int64_t size : sizes) {
    same = same && (size < 0 || tensor.size(axis) == size);
    wanted.push_back(size < 0 ? "*" : std::to_string(size));
    ++axis;
  }
  if (same) return;
  throw Error(fmt::format("{}: expected shape [{}], found {}", what, fmt::join(wanted, ", "),
                          tensor.defined() ? shape_text(tensor.sizes()) : "no tensor"));
}

}  // namespace jointtuner
