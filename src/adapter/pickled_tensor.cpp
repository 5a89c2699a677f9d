#include "pickle_format.h"
#include "pickle_list.h"

namespace jointtuner::adapter {
namespace {

constexpr size_t kMaximumDimensions = 8;

/// a * b + c, or -1 when that is not a 64-bit number.
int64_t product_plus(int64_t a, int64_t b, int64_t c) {
  int64_t product = 0;
  int64_t sum = 0;
  return __builtin_mul_overflow(a, b, &product) || __builtin_add_overflow(product, c, &sum) ? -1 : sum;
}

}  // namespace

int64_t PickledTensor::elements() const {
  int64_t product = 1;
  for (const int64_t size : sizes) product *= size;
  return product;
}

bool lies_inside_storage(const PickledTensor& tensor) {
  const int64_t all = tensor.storage_elements;
  const size_t dimensions = tensor.sizes.size();
  if (dimensions != tensor.strides.size() || dimensions > kMaximumDimensions || tensor.offset < 0) return false;
  int64_t elements = 1;
  int64_t last = tensor.offset;
  for (size_t i = 0; i < dimensions; ++i) {
    if (tensor.sizes[i] < 1 || tensor.strides[i] < 0) return false;
    elements = product_plus(elements, tensor.sizes[i], 0);
    last = product_plus(tensor.sizes[i] - 1, tensor.strides[i], last);
    if (elements < 0 || elements > all || last < 0) return false;
  }
  return last < all;
}

}  // namespace jointtuner::adapter
