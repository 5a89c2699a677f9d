#include "meta_kernels.h"

#include <ATen/ExpandUtils.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/result_type.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace jointtuner::forecast {

namespace {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

/// The values that come back from `meta` are zeros.
Tensor& copied(Tensor& self, const Tensor& source, bool /*non_blocking*/) {
  if (!self.is_meta()) self.zero_();
  return self;
}
at::Scalar number(const Tensor& /*self*/) { return 0; }
Tensor& absolute(const Tensor& self, Tensor& out) {
  out.resize_(self.sizes());
  return out;
}
bool equal(const Tensor& self, const Tensor& other) { return self.is_same(other); }

Tensor where(const Tensor& condition, const Tensor& yes, const Tensor& no) {
  const std::vector<int64_t> shape = at::infer_size(condition.sizes(), at::infer_size(yes.sizes(), no.sizes()));
  return at::empty(shape, condition.options().dtype(at::result_type(yes, no)));
}

/// As oneDNN and cuDNN lay out a result: channels last where the input's are.
Tensor result_of_convolution(const Tensor& x, const Tensor& weight, c10::SymIntArrayRef stride,
                             c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation) {
  std::vector<int64_t> shape{x.size(0), weight.size(0)};
  for (size_t i = 0; i < stride.size(); ++i) {
    const auto dim = static_cast<int64_t>(i) + 2;
    const int64_t extent = (weight.size(dim) - 1) * dilation[i].expect_int() + 1;
    shape.push_back((x.size(dim) + 2 * padding[i].expect_int() - extent) / stride[i].expect_int() + 1);
  }
  return at::empty(shape, x.options().memory_format(x.suggest_memory_format()));
}

Tensor convolution(const Tensor& given, const Tensor& weight, const MaybeTensor& /*bias*/, c10::SymIntArrayRef stride,
                   c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed,
                   c10::SymIntArrayRef /*output_padding*/, c10::SymInt /*groups*/) {
  TORCH_CHECK_NOT_IMPLEMENTED(!transposed, "a dry run of a transposed convolution");
  const Tensor x = given.contiguous(given.suggest_memory_format());
  return result_of_convolution(x, weight, stride, padding, dilation);
}

/// ConvParams::use_mkldnn of LibTorch's Convolution.cpp: small convolutions are its own.
bool is_by_onednn(const Tensor& x, const Tensor& weight) {
  constexpr int64_t kSmall = 20480;
  return x.size(0) > 1 || weight.size(1) < x.size(1) || (weight.size(-1) > 3 && weight.size(-2) > 3) ||
         x.size(1) * x.size(2) * x.size(3) > kSmall;
}

/// Holds for a while, besides: where oneDNN computes and the channels do not come last, the input in blocks of channels
/// and then the result, before and while it is laid out as asked; else the kernel's inputs for each place of the
/// result.
Tensor convolution_on_cpu(const Tensor& given, const Tensor& weight, const MaybeTensor& bias,
                          c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                          bool transposed, c10::SymIntArrayRef output_padding, c10::SymInt groups) {
  const Tensor x = given.contiguous(given.suggest_memory_format());
  const bool by_onednn = is_by_onednn(x, weight);
  Tensor blocked;
  if (by_onednn && x.is_contiguous()) {
    const Tensor source = at::empty(x.sizes(), x.options());
    blocked = result_of_convolution(x, weight, stride, padding, dilation);
  }
  Tensor y = convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, std::move(groups));
  const int64_t inputs = weight.numel() / weight.size(0);
  if (!by_onednn && inputs > x.size(1)) const Tensor columns = at::empty({inputs, y.numel() / y.size(1)}, x.options());
  return y;
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

/// Statistics of half types are kept in fp32 where the affine parameters are (CPU) or always (CUDA): a number a row.
at::TensorOptions statistics(const Tensor& x) {
  return x.options().dtype(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

Three native_group_norm(const Tensor& x, const MaybeTensor& /*weight*/, const MaybeTensor& /*bias*/, c10::SymInt batch,
                        c10::SymInt /*channels*/, c10::SymInt /*positions*/, int64_t groups, double /*epsilon*/) {
  const std::vector<int64_t> shape{batch.expect_int(), groups};
  return {at::empty_like(x), at::empty(shape, statistics(x)), at::empty(shape, statistics(x))};
}

/// LibTorch takes channels last as they are on the CPU alone.
Tensor group_norm_on_cpu(const Tensor& x, int64_t groups, const MaybeTensor& weight, const MaybeTensor& bias,
                         double epsilon, bool /*cudnn*/) {
  const Tensor in_a_row = x.contiguous(x.suggest_memory_format());
  return std::get<0>(at::native_group_norm(in_a_row, weight, bias, x.size(0), x.size(1),
                                           x.numel() / x.size(0) / x.size(1), groups, epsilon));
}

Three native_group_norm_backward(const Tensor& /*grad_output*/, const Tensor& x, const Tensor& /*mean*/,
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
  const Tensor in_a_row = x.contiguous();
  return {at::empty(x.sizes(), x.options()), at::empty(shape, statistics(x)), at::empty(shape, statistics(x))};
}

Three layer_norm_backward(const Tensor& /*grad_output*/, const Tensor& x, c10::SymIntArrayRef /*normalized*/,
                          const Tensor& /*mean*/, const Tensor& /*rstd*/, const MaybeTensor& weight,
                          const MaybeTensor& bias, std::array<bool, 3> wanted) {
  return {wanted[0] ? at::empty(x.sizes(), x.options()) : Tensor(), wanted[1] ? at::empty_like(*weight) : Tensor(),
          wanted[2] ? at::empty_like(*bias) : Tensor()};
}

/// LibTorch chooses a backend by looking at the device; on `meta` it would be the one with a matrix of tokens x tokens.
/// This operator stands for all fused ones: its output and its log-sum-exp are what each of them saves.
Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value, const MaybeTensor& mask, double dropout,
                 bool causal, std::optional<double> scale, bool /*grouped*/) {
  return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, dropout, causal, mask, scale));
}

/// Flash attention of the CPU and of CUDA, and cuDNN's: the result is laid out as the query is.
std::tuple<Tensor, Tensor> flash(const Tensor& query, const Tensor& /*key*/, const Tensor& /*value*/,
                                 double /*dropout*/, bool /*causal*/, const MaybeTensor& /*mask*/,
                                 std::optional<double> /*scale*/) {
  return {at::empty_like(query), at::empty({query.size(0), query.size(1), query.size(2)}, statistics(query))};
}

/// The tiles of queries x keys that each thread of the CPU fills (FlashAttentionKernel.cpp).
struct Tiles {
  int64_t queries, keys;
};

Tiles tiles_on_cpu(const Tensor& query, const Tensor& key) {
  const int64_t most = query.size(2) >= 768 ? 256 : query.size(2) >= 192 ? 64 : 32;
  return {std::min(most, query.size(2)), std::min<int64_t>(512, key.size(2))};
}

Tensor of_each_thread(int64_t elements, const Tensor& query) {
  return at::empty({at::get_num_threads(), elements}, statistics(query));
}

std::tuple<Tensor, Tensor> flash_on_cpu(const Tensor& query, const Tensor& key, const Tensor& value, double dropout,
                                        bool causal, const MaybeTensor& mask, std::optional<double> scale) {
  std::tuple<Tensor, Tensor> result = flash(query, key, value, dropout, causal, mask, scale);
  const Tiles tiles = tiles_on_cpu(query, key);
  const Tensor scratch = of_each_thread(tiles.queries * (tiles.keys + 2 + query.size(3)), query);
  return result;
}

Tensor like_heads(const Tensor& tensor) {  // [B,H,L,D], laid out as [B,L,H,D]
  return at::empty_like(tensor.transpose(1, 2), at::MemoryFormat::Contiguous).transpose(1, 2);
}

Three flash_backward_on_cpu(const Tensor& grad_output, const Tensor& query, const Tensor& key, const Tensor& value,
                            const Tensor& /*output*/, const Tensor& /*logsumexp*/, double /*dropout*/, bool /*causal*/,
                            const MaybeTensor& /*mask*/, std::optional<double> /*scale*/) {
  Three gradients{like_heads(query), like_heads(key), like_heads(value)};
  const Tensor gradient = grad_output.transpose(1, 2).contiguous();
  const Tiles tiles = tiles_on_cpu(query, key);
  const Tensor scratch = of_each_thread(2 * tiles.queries * tiles.keys, query);
  return gradients;
}

int64_t rounded(int64_t number, int64_t multiple) { return (number + multiple - 1) / multiple * multiple; }

/// flash attention 2 (mha_bwd): the query's gradient and the rows' dot products, in fp32, of padded sizes.
Three flash_backward_on_cuda(const Tensor& /*grad_output*/, const Tensor& query, const Tensor& key, const Tensor& value,
                             const Tensor& /*output*/, const Tensor& /*logsumexp*/, double /*dropout*/, bool /*causal*/,
                             const MaybeTensor& /*mask*/, std::optional<double> /*scale*/) {
  const int64_t rows = rounded(query.size(2), 128), width = rounded(query.size(3), query.size(3) <= 128 ? 32 : 64);
  Three gradients{at::empty_like(query), at::empty_like(key), at::empty_like(value)};
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
    meta.impl("abs.out", absolute);
    meta.impl("equal", equal);
    meta.impl("convolution_overrideable", for_cuda ? convolution : convolution_on_cpu);
    meta.impl("convolution_backward_overrideable", convolution_backward);
    meta.impl("where.self", where);
    meta.impl("index_select", index_select);
    meta.impl("native_group_norm", native_group_norm);
    meta.impl("native_group_norm_backward", native_group_norm_backward);
    if (!for_cuda) {
      meta.impl("group_norm", group_norm_on_cpu);
      autograd.impl("group_norm", group_norm_on_cpu);
    }
    meta.impl("native_layer_norm", layer_norm);
    meta.impl("native_layer_norm_backward", layer_norm_backward);
    meta.impl("scaled_dot_product_attention", attention);
    autograd.impl("scaled_dot_product_attention", attention);
    meta.impl("_scaled_dot_product_flash_attention_for_cpu", for_cuda ? flash : flash_on_cpu);
    meta.impl("_scaled_dot_product_flash_attention_for_cpu_backward",
              for_cuda ? flash_backward_on_cuda : flash_backward_on_cpu);
    meta.impl("_fused_adamw_", adamw);
  }

  torch::Library meta{torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__};
  torch::Library autograd{torch::Library::IMPL, "aten", c10::DispatchKey::AutogradMeta, __FILE__, __LINE__};
};

MetaKernels::MetaKernels(bool for_cuda) : impl_(std::make_unique<Impl>(for_cuda)) {}
MetaKernels::~MetaKernels() = default;

}  // namespace jointtuner::forecast
