#include "../glora_parts.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../accumulation.h"
#include "dropout.h"

namespace jointtuner::kernels::cpu {
namespace {

constexpr int64_t kTokensPerSum = 256;  // partial sums of fixed extent: the same result with any number of threads
constexpr int64_t kElementsPerBlock = 65536;  // of a widened block of the update: stays in the second-level cache

template <class U>
U sigmoid(U logit) {
  return U(1) / (U(1) + std::exp(-logit));
}

/// sum over tokens of value(token), split into partial sums that no thread count changes.
template <class Value>
double token_sum(int64_t begin, int64_t end, const Value& value) {
  const int64_t parts = (end - begin + kTokensPerSum - 1) / kTokensPerSum;
  std::vector<double> sums(static_cast<size_t>(parts));
  at::parallel_for(0, parts, 4, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      const int64_t start = begin + part * kTokensPerSum, stop = std::min(end, start + kTokensPerSum);
      double sum = 0;
      for (int64_t token = start; token < stop; ++token) sum += static_cast<double>(value(token));
      sums[static_cast<size_t>(part)] = sum;
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

int64_t rows_per_task(int64_t columns) { return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, columns)); }

template <class T>
Tensor gate_hidden_typed(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  using U = accumulation_t<T>;
  const int64_t tokens = logits.size(0) / groups, rank = hidden.size(1);
  const Tensor gate = at::empty({groups}, hidden.options().dtype(accumulation_dtype(hidden)));
  const T* logit = logits.const_data_ptr<T>();
  U* g = gate.mutable_data_ptr<U>();
  for (int64_t group = 0; group < groups; ++group) {
    const double sum = token_sum(group * tokens, (group + 1) * tokens,
                                 [&](int64_t token) { return sigmoid(static_cast<U>(logit[token])); });
    g[group] = static_cast<U>(sum / static_cast<double>(tokens));
  }
  T* h = hidden.mutable_data_ptr<T>();
  at::parallel_for(0, hidden.size(0), rows_per_task(rank), [&](int64_t first, int64_t last) {
    for (int64_t token = first; token < last; ++token) {
      const U factor = g[token / tokens];
      for (int64_t i = token * rank; i < (token + 1) * rank; ++i) h[i] = static_cast<T>(static_cast<U>(h[i]) * factor);
    }
  });
  return gate;
}

template <class T>
void gate_hidden_backward_typed(const parts::GateHiddenBackward& step) {
  using U = accumulation_t<T>;
  const int64_t groups = step.gate.size(0), all_tokens = step.hidden.size(0), rank = step.hidden.size(1);
  const int64_t tokens = all_tokens / groups, stride = rank + 1;
  const T *h = step.hidden.const_data_ptr<T>(), *logit = step.logits.const_data_ptr<T>();
  const U* g = step.gate.const_data_ptr<U>();
  U* p = step.gradient.mutable_data_ptr<U>();
  std::vector<U> grad_logit(static_cast<size_t>(groups));  // dL/d gate spread over the group's tokens
  for (int64_t group = 0; group < groups; ++group) {
    const double sum = token_sum(group * tokens, (group + 1) * tokens, [&](int64_t token) {
      U product = 0;
      for (int64_t r = 0; r < rank; ++r) product += p[token * stride + r] * static_cast<U>(h[token * rank + r]);
      return product;
    });
    // A gate that underflowed to 0 has no slope either: s (1 - s) is 0 for each of its tokens.
    const double share =
        g[group] == 0 ? 0 : sum * step.scale / static_cast<double>(g[group]) / static_cast<double>(tokens);
    grad_logit[static_cast<size_t>(group)] = static_cast<U>(share);
  }
  at::parallel_for(0, all_tokens, rows_per_task(rank), [&](int64_t first, int64_t last) {
    for (int64_t token = first; token < last; ++token) {
      const int64_t group = token / tokens;
      const U factor = static_cast<U>(step.scale) * g[group], s = sigmoid(static_cast<U>(logit[token]));
      U* row = p + token * stride;
      for (int64_t r = 0; r < rank; ++r) row[r] *= factor;
      row[rank] = grad_logit[static_cast<size_t>(group)] * s * (1 - s);
    }
  });
}

int64_t rows_per_block(int64_t columns) {
  return std::clamp<int64_t>(kElementsPerBlock / std::max<int64_t>(1, columns), 16, 1024);
}

/// Calls body(thread's share, first token, length) for blocks of tokens whose [length, columns] buffer fits the cache.
template <class Body>
void for_each_block(int64_t tokens, int64_t columns, const Body& body) {
  const int64_t block = rows_per_block(columns);
  const int64_t shares = std::clamp<int64_t>(tokens / block, 1, at::get_num_threads());
  const int64_t per_share = (tokens + shares - 1) / shares;
  at::parallel_for(0, shares, 1, [&](int64_t first, int64_t last) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;  // thread-local, so not inherited from the caller
    for (int64_t share = first; share < last; ++share) {
      const int64_t stop = std::min(tokens, (share + 1) * per_share);
      for (int64_t start = share * per_share; start < stop; start += block)
        body(share, start, std::min(block, stop - start));
    }
  });
}

int64_t most_shares() { return at::get_num_threads(); }

/// One buffer a share, so that blocks reuse warm memory: [shares][rows, columns].
std::vector<Tensor> buffers(int64_t tokens, int64_t columns, const at::TensorOptions& options) {
  const int64_t block = rows_per_block(columns);
  std::vector<Tensor> result(static_cast<size_t>(most_shares()));
  for (Tensor& buffer : result) buffer = at::empty({std::min(block, tokens), columns}, options);
  return result;
}

void low_rank_update(const parts::LowRankUpdate& step) {
  if (step.mask.probability == 0) return composed::low_rank_update(step);
  const Tensor& y = step.y;
  const auto dtype = accumulation_dtype(y);
  const Tensor up_transposed = step.up.to(dtype).t();
  const int64_t columns = y.size(1);
  const auto update = buffers(y.size(0), columns, y.options().dtype(dtype));
  for_each_block(y.size(0), columns, [&](int64_t share, int64_t start, int64_t length) {
    Tensor block = update[static_cast<size_t>(share)].narrow(0, 0, length);
    at::mm_out(block, step.hidden.narrow(0, start, length).to(dtype), up_transposed);
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, y.scalar_type(), "low_rank_update", [&] {
      add_dropped(y.mutable_data_ptr<scalar_t>() + start * columns, block.const_data_ptr<accumulation_t<scalar_t>>(),
                  length * columns, start * columns, step.scale, step.mask);
    });
  });
}

/// block = Dropout(rows start .. of grad_y), widened.
void fill_kept(const Tensor& block, const Tensor& grad_y, int64_t start, const DropoutMask& mask) {
  const int64_t length = block.size(0), columns = block.size(1);
  if (mask.probability == 0) {
    block.copy_(grad_y.narrow(0, start, length));
    return;
  }
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, grad_y.scalar_type(), "low_rank_backward", [&] {
    drop(block.mutable_data_ptr<accumulation_t<scalar_t>>(), grad_y.const_data_ptr<scalar_t>() + start * columns,
         length * columns, start * columns, mask);
  });
}

void low_rank_backward(const parts::LowRankBackward& step) {
  const Tensor &grad_y = step.grad_y, &grad_up = step.grad_up;
  const bool widened = grad_y.scalar_type() != step.grad_hidden.scalar_type();
  if (step.mask.probability == 0 && !widened) return composed::low_rank_backward(step);
  const auto dtype = accumulation_dtype(grad_y);
  const Tensor wide_up = step.up.to(dtype);
  const int64_t columns = grad_y.size(1);
  const auto kept = buffers(grad_y.size(0), columns, grad_up.options());
  std::vector<Tensor> sums(static_cast<size_t>(most_shares()));
  for (Tensor& sum : sums) sum = at::zeros(grad_up.sizes(), grad_up.options());
  for_each_block(grad_y.size(0), columns, [&](int64_t share, int64_t start, int64_t length) {
    const Tensor block = kept[static_cast<size_t>(share)].narrow(0, 0, length);
    fill_kept(block, grad_y, start, step.mask);
    Tensor out = step.grad_hidden.narrow(0, start, length);
    at::mm_out(out, block, wide_up);
    sums[static_cast<size_t>(share)].addmm_(block.t(), step.hidden.narrow(0, start, length).to(dtype), 1, step.scale);
  });
  grad_up.copy_(sums[0]);
  for (size_t share = 1; share < sums.size(); ++share) grad_up.add_(sums[share]);
}

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  return AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, hidden.scalar_type(), "gate_hidden",
                                         [&] { return gate_hidden_typed<scalar_t>(hidden, logits, groups); });
}

void gate_hidden_backward(const parts::GateHiddenBackward& step) {
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, step.hidden.scalar_type(), "gate_hidden_backward",
                                  [&] { gate_hidden_backward_typed<scalar_t>(step); });
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CPU, m) {
  m.impl("_gate_hidden", gate_hidden);
  m.impl("_gate_hidden_backward", parts::gate_hidden_backward_kernel<gate_hidden_backward>);
  m.impl("_low_rank_update", parts::low_rank_update_kernel<low_rank_update>);
  m.impl("_low_rank_backward", parts::low_rank_backward_kernel<low_rank_backward>);
}

}  // namespace jointtuner::kernels::cpu
