#include "meta_kernels.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

namespace jointtuner::forecast {

namespace {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

// The values that come back from `meta` are zeros.
Tensor& copied(Tensor& self, const Tensor& source, bool /*non_blocking*/) {
  if (!self.is_meta()) self.zero_();
  return self;
}
at::Scalar number(const Tensor& /*self*/) { return 0; }
bool equal(const Tensor& self, const Tensor& other) { return self.is_same(other); }

Tensor convolution(const Tensor& x, const Tensor& weight, const MaybeTensor& /*bias*/, c10::SymIntArrayRef stride,
                   c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed,
                   c10::SymIntArrayRef /*output_padding*/, c10::SymInt /*groups*/) {
  TORCH_CHECK_NOT_IMPLEMENTED(!transposed, "a dry run of a transposed convolution");
  std::vector<int64_t> shape{x.size(0), weight.size(0)};
  for (size_t i = 0; i < stride.size(); ++i) {
    const auto dim = static_cast<int64_t>(i) + 2;
    const int64_t extent = (weight.size(dim) - 1) * dilation[i].expect_int() + 1;
    shape.push_back((x.size(dim) + 2 * padding[i].expect_int() - extent) / stride[i].expect_int() + 1);
  }
  return at::empty(shape, x.options());
}

Three convolution_backward(const Tensor& grad_output, const Tensor& x, const Tensor& weight,
                           c10::SymIntArrayRef /*stride*/, c10::SymIntArrayRef /*padding*/,
                           c10::SymIntArrayRef /*dilation*/, bool /*transposed*/,
                           c10::SymIntArrayRef /*output_padding*/, c10::SymInt /*groups*/, std::array<bool, 3> wanted) {
  return {wanted[0] ? at::empty(x.sizes(), x.options()) : Tensor(), wanted[1] ? at::empty_like(weight) : Tensor(),
          wanted[2] ? at::empty({weight.size(0)}, grad_output.options()) : Tensor()};
}

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape[static_cast<size_t>(dim < 0 ? dim + x.dim() : dim)] = index.numel();
  return at::empty(shape, x.options());
}

// Statistics of half types are kept in fp32 where the affine parameters are (CPU) or always (CUDA): a number a row.
at::TensorOptions statistics(const Tensor& x) {
  return x.options().dtype(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

Three group_norm(const Tensor& x, const MaybeTensor& /*weight*/, const MaybeTensor& /*bias*/, c10::SymInt batch,
                 c10::SymInt /*channels*/, c10::SymInt /*positions*/, int64_t groups, double /*epsilon*/) {
  const std::vector<int64_t> shape{batch.expect_int(), groups};
  return {at::empty(x.sizes(), x.options()), at::empty(shape, statistics(x)), at::empty(shape, statistics(x))};
}

Three group_norm_backward(const Tensor& /*grad_output*/, const Tensor& x, const Tensor& /*mean*/,
                          const Tensor& /*rstd*/, const MaybeTensor& weight, c10::SymInt /*batch*/,
                          c10::SymInt channels, c10::SymInt /*positions*/, int64_t /*groups*/,
                          std::array<bool, 3> wanted) {
  const auto affine = [&](bool asked) {
    return asked ? at::empty({channels.expect_int()}, weight->options()) : Tensor();
  };
  return {wanted[0] ? at::empty(x.sizes(), x.options()) : Tensor(), affine(wanted[1]), affine(wanted[2])};
}

Three layer_norm(const Tensor& x, c10::SymIntArrayRef normalized, const MaybeTensor& /*weight*/,
                 const MaybeTensor& /*bias*/, double /*epsilon*/) {
  std::vector<int64_t> shape = x.sizes().vec();
  std::fill(shape.end() - static_cast<std::ptrdiff_t>(normalized.size()), shape.end(), 1);
  return {at::empty(x.sizes(), x.options()), at::empty(shape, statistics(x)), at::empty(shape, statistics(x))};
}

Three layer_norm_backward(const Tensor& /*grad_output*/, const Tensor& x, c10::SymIntArrayRef /*normalized*/,
                          const Tensor& /*mean*/, const Tensor& /*rstd*/, const MaybeTensor& weight,
                          const MaybeTensor& bias, std::array<bool, 3> wanted) {
  return {wanted[0] ? at::empty(x.sizes(), x.options()) : Tensor(), wanted[1] ? at::empty_like(*weight) : Tensor(),
          wanted[2] ? at::empty_like(*bias) : Tensor()};
}

// LibTorch chooses a backend by looking at the device; on `meta` it would be the one with a matrix of tokens x tokens.
// This operator stands for all fused ones: its output and its log-sum-exp are what each of them saves.
Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value, const MaybeTensor& mask, double dropout,
                 bool causal, std::optional<double> scale, bool /*grouped*/) {
  return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, dropout, causal, mask, scale));
}

Tensor like_heads(const Tensor& tensor, int64_t width) {  // [B,H,L,width], laid out as [B,L,H,width]
  return at::empty({tensor.size(0), tensor.size(2), tensor.size(1), width}, tensor.options()).transpose(1, 2);
}

std::tuple<Tensor, Tensor> flash(const Tensor& query, const Tensor& /*key*/, const Tensor& value, double /*dropout*/,
                                 bool /*causal*/, const MaybeTensor& /*mask*/, std::optional<double> /*scale*/) {
  return {like_heads(query, value.size(3)),
          at::empty({query.size(0), query.size(1), query.size(2)}, statistics(query))};
}

Three flash_backward(const Tensor& /*grad_output*/, const Tensor& query, const Tensor& key, const Tensor& value,
                     const Tensor& /*output*/, const Tensor& /*logsumexp*/, double /*dropout*/, bool /*causal*/,
                     const MaybeTensor& /*mask*/, std::optional<double> /*scale*/) {
  return {like_heads(query, query.size(3)), like_heads(key, key.size(3)), like_heads(value, value.size(3))};
}

int64_t rounded(int64_t number, int64_t multiple) { return (number + multiple - 1) / multiple * multiple; }

// flash attention 2 (mha_bwd): the query's gradient and the rows' dot products, in fp32, of padded sizes.
Three flash_backward_on_cuda(const Tensor& grad_output, const Tensor& query, const Tensor& key, const Tensor& value,
                             const Tensor& output, const Tensor& logsumexp, double dropout, bool causal,
                             const MaybeTensor& mask, std::optional<double> scale) {
  const int64_t rows = rounded(query.size(2), 128), width = rounded(query.size(3), query.size(3) <= 128 ? 32 : 64);
  Three gradients = flash_backward(grad_output, query, key, value, output, logsumexp, dropout, causal, mask, scale);
  const Tensor accumulated = at::empty({query.size(0), rows, query.size(1), width}, statistics(query));
  const Tensor products = at::empty({query.size(0), query.size(1), rows}, statistics(query));
  return gradients;
}

void adamw(at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList, double,
           double, double, double, double, bool, bool, const MaybeTensor&, const MaybeTensor&) {}

}  // namespace

struct MetaKernels::Impl {
  explicit Impl(bool for_cuda) {
    meta.impl("copy_", copied);
    meta.impl("_local_scalar_dense", number);
    meta.impl("equal", equal);
    meta.impl("convolution_overrideable", convolution);
    meta.impl("convolution_backward_overrideable", convolution_backward);
    meta.impl("index_select", index_select);
    meta.impl("native_group_norm", group_norm);
    meta.impl("native_group_norm_backward", group_norm_backward);
    meta.impl("native_layer_norm", layer_norm);
    meta.impl("native_layer_norm_backward", layer_norm_backward);
    meta.impl("scaled_dot_product_attention", attention);
    autograd.impl("scaled_dot_product_attention", attention);
    meta.impl("_scaled_dot_product_flash_attention_for_cpu", flash);
    meta.impl("_scaled_dot_product_flash_attention_for_cpu_backward",
              for_cuda ? flash_backward_on_cuda : flash_backward);
    meta.impl("_fused_adamw_", adamw);
  }

  torch::Library meta{torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__};
  torch::Library autograd{torch::Library::IMPL, "aten", c10::DispatchKey::AutogradMeta, __FILE__, __LINE__};
};

MetaKernels::MetaKernels(bool for_cuda) : impl_(std::make_unique<Impl>(for_cuda)) {}
MetaKernels::~MetaKernels() = default;

}  // namespace jointtuner::forecast
