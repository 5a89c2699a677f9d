// Shape checks with messages that name the tensor.
#pragma once
#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <string>
#include <string_view>

namespace jointtuner {

/// "[1, 4, 16, 48, 48]".
std::string shape_text(at::IntArrayRef sizes);

/// Throws Error unless `tensor` is defined and has these sizes; -1 stands for any size.
/// The message reads "<what>: expected shape [1, 4, *, *], found [2, 4, 8, 8]".
void check_shape(const at::Tensor& tensor, std::initializer_list<int64_t> sizes, std::string_view what);

}  // namespace jointtuner
