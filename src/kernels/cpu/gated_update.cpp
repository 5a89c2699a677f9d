#include "jointtuner/kernels/gated_update.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "../accumulation.h"
#include "../gated_update_arguments.h"
#include "dropout.h"

namespace jointtuner::kernels::cpu {
namespace {

constexpr int64_t kElementsPerTask = 32768;
constexpr int64_t kRun = 4096;  // widened on the stack

template <class T>
void update_typed(const Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                  const DropoutMask& mask) {
  using U = accumulation_t<T>;
  T* y_data = y.mutable_data_ptr<T>();
  const T* u_data = update.const_data_ptr<T>();
  const U* g = gate ? gate->const_data_ptr<U>() : nullptr;
  const int64_t group_elements = gate ? y.numel() / gate->size(0) : y.numel();
  at::parallel_for(0, y.numel(), kElementsPerTask, [&](int64_t first, int64_t last) {
    std::vector<U> wide(kRun);
    for (int64_t start = first; start < last;) {
      const int64_t group = start / group_elements;
      const int64_t length = std::min({last - start, (group + 1) * group_elements - start, kRun});
      const double factor = g ? scale * static_cast<double>(g[group]) : scale;
      std::copy(u_data + start, u_data + start + length, wide.begin());
      if (mask.probability > 0) {
        add_dropped(y_data + start, wide.data(), length, start, factor, mask);
      } else {
        for (int64_t i = 0; i < length; ++i) {
          U& value = wide[static_cast<size_t>(i)];
          y_data[start + i] = static_cast<T>(static_cast<U>(y_data[start + i]) + value * static_cast<U>(factor));
        }
      }
      start += length;
    }
  });
}

Tensor& gated_update(Tensor& y, const Tensor& update, const std::optional<Tensor>& gate, double scale,
                     const DropoutMask& mask) {
  const Tensor contiguous_update = update.contiguous();
  const std::optional<Tensor> contiguous_gate = gate ? std::optional<Tensor>(gate->contiguous()) : std::nullopt;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, y.scalar_type(), "gated_update",
                                  [&] { update_typed<scalar_t>(y, contiguous_update, contiguous_gate, scale, mask); });
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(jointtuner, CPU, m) { m.impl("gated_update", gated_update_kernel<gated_update>); }

}  // namespace jointtuner::kernels::cpu
