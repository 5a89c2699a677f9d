// The sites and values of the goldens that tests/goldens/make/published_list.py writes.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>

#include <vector>

#include "jointtuner/adapter/adapter_set.h"

namespace jointtuner::adapter {

inline constexpr int64_t kListRank = 3;

inline std::vector<Site> list_sites() {
  return {{"down_blocks.0.attn1.to_q", "spatial", 6, 8}, {"mid_block.ff.net.2", "temporal", 4, 10}};
}

/// Element n of tensor `index` is ((7 n + 3 index) mod 23 - 11) / 16.
inline Tensor list_tensor(int64_t index, int64_t rows, int64_t columns) {
  const Tensor n = at::arange(rows * columns, at::TensorOptions().dtype(at::kLong));
  return n.mul(7).add(3 * index).remainder(23).sub(11).to(at::kFloat).div(16).reshape({rows, columns});
}

/// up, down (and gate) of every site.
inline std::vector<Tensor> list_tensors(bool gated = true) {
  std::vector<Tensor> tensors;
  const auto add = [&](int64_t rows, int64_t columns) {
    tensors.push_back(list_tensor(static_cast<int64_t>(tensors.size()), rows, columns));
  };
  for (const Site& site : list_sites()) {
    add(site.out_features, kListRank);
    add(kListRank, site.in_features);
    if (gated) add(1, site.in_features);
  }
  return tensors;
}

inline bool same(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || (a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
                                                         at::equal(a.detach(), b.detach())));
}

inline bool same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  bool equal = a.size() == b.size();
  for (size_t i = 0; equal && i < a.size(); ++i) equal = same(a[i], b[i]);
  return equal;
}

/// An AdapterSet with the values of list_tensors().
inline AdapterSet list_adapters(bool gated = true) {
  AdapterSet adapters(list_sites(), kListRank, gated, at::kCPU);
  const std::vector<Tensor> tensors = list_tensors(gated);
  const size_t each = gated ? 3 : 2;
  for (size_t i = 0; i < adapters.size(); ++i) {
    adapters.at(i).up.copy_(tensors[each * i]);
    adapters.at(i).down.copy_(tensors[each * i + 1]);
    if (gated) adapters.at(i).gate.copy_(tensors[each * i + 2]);
  }
  return adapters;
}

}  // namespace jointtuner::adapter
