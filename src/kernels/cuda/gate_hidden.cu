// A pooling group's sum in two stages without atomics: a warp sums a run of tokens and writes that down; in the second
// launch each warp adds up the runs' sums of its group, always in the same order, and goes on with its own run.
//
// gate_hidden moves 2 sizeof(T) bytes an element of hidden and sizeof(T) a logit. gate_hidden_backward moves 12 bytes
// of gradient (its sum must be known before the first element changes) and sizeof(T) of hidden; the composition moves
// 24 + sizeof(T) for it.
#include "gate_hidden.h"

#include <cmath>

#include "device/pack.h"
#include "device/warp.h"

namespace jointtuner::kernels::cuda {
namespace {

constexpr int64_t kLogitsOfRun = 256;
constexpr int64_t kElementsOfRun = 2048;

Runs runs_of_rows(int64_t group_tokens, int64_t rank) {
  return runs_of(group_tokens, kElementsOfRun / std::max<int64_t>(1, rank));
}

template <class T>
__device__ float sigmoid(const T* logit) {
  return 1 / (1 + std::exp(-static_cast<float>(read(logit))));
}

/// What the first stage wrote down for `group`.
__device__ float sum_of_group(const float* partial, int64_t group, int64_t runs) {
  float sum = 0;
  for (int64_t i = lane(); i < runs; i += kWarp) sum += read(partial + group * runs + i);
  return warp_sum(sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads) sigmoid_sums_kernel(GateHidden<T> a, Runs runs) {
  for_each_unit(a.groups * runs.count, [&](int64_t unit) {
    const Run run = run_of(unit, runs, a.group_tokens);
    float sum = 0;
    for (int64_t i = lane(); i < run.count; i += kWarp) sum += sigmoid(a.logits + run.first + i);
    sum = warp_sum(sum);
    if (lane() == 0) write(a.partial + unit, sum);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads) gate_hidden_kernel(GateHidden<T> a, Runs summed, Runs runs) {
  constexpr int kN = kPack<T>;
  for_each_unit(a.groups * runs.count, [&](int64_t unit) {
    const Run run = run_of(unit, runs, a.group_tokens);
    const float gate = sum_of_group(a.partial, run.group, summed.count) / static_cast<float>(a.group_tokens);
    if (unit % runs.count == 0 && lane() == 0) write(a.gate + run.group, gate);
    T* const hidden = a.hidden + run.first * a.rank;
    const int64_t elements = run.count * a.rank;
    for (int64_t i = lane() * kN; i < elements; i += kWarp * kN) {
      Floats<kN> values = load<kN>(hidden + i, elements - i);
#pragma unroll
      for (int j = 0; j < kN; ++j) values[j] *= gate;
      store<kN>(hidden + i, values, elements - i);
    }
  });
}

/// The gradient's rows have an odd length, so that packs would not be aligned; neighbouring lanes take neighbouring
/// elements of 4 bytes instead. A run's elements are counted in 32 bits: it has 2^31 of them from terabytes on.
template <class T>
__global__ void __launch_bounds__(kThreads) inner_products_kernel(GateHiddenBackward<T> a, Runs runs) {
  for_each_unit(a.groups * runs.count, [&](int64_t unit) {
    const Run run = run_of(unit, runs, a.group_tokens);
    const float* const gradient = a.gradient + run.first * (a.rank + 1);
    const T* const hidden = a.hidden + run.first * a.rank;
    const auto rank = static_cast<uint32_t>(a.rank), elements = static_cast<uint32_t>(run.count) * rank;
    float sum = 0;
    for (uint32_t i = static_cast<uint32_t>(lane()); i < elements; i += kWarp)
      sum += read(gradient + i + i / rank) * static_cast<float>(read(hidden + i));
    sum = warp_sum(sum);
    if (lane() == 0) write(a.partial + unit, sum);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads) gate_hidden_backward_kernel(GateHiddenBackward<T> a, Runs runs) {
  for_each_unit(a.groups * runs.count, [&](int64_t unit) {
    const Run run = run_of(unit, runs, a.group_tokens);
    const float gate = read(a.gate + run.group), product = sum_of_group(a.partial, run.group, runs.count);
    // A gate that underflowed to 0 has no slope either: s (1 - s) is 0 for each of its tokens.
    const float share = gate == 0 ? 0 : product * a.scale / gate / static_cast<float>(a.group_tokens);
    const float factor = a.scale * gate;
    float* const gradient = a.gradient + run.first * (a.rank + 1);
    const auto columns = static_cast<uint32_t>(a.rank + 1), elements = static_cast<uint32_t>(run.count) * columns;
    for (uint32_t i = static_cast<uint32_t>(lane()); i < elements; i += kWarp) {
      const uint32_t row = i / columns;
      if (i - row * columns + 1 == columns) {
        const float s = sigmoid(a.logits + run.first + row);
        write(gradient + i, share * s * (1 - s));
      } else {
        write(gradient + i, read(gradient + i) * factor);
      }
    }
  });
}

}  // namespace

template <class T>
int64_t partials(const GateHidden<T>& a) {
  return a.groups * runs_of(a.group_tokens, kLogitsOfRun).count;
}

template <class T>
int64_t partials(const GateHiddenBackward<T>& a) {
  return a.groups * runs_of_rows(a.group_tokens, a.rank).count;
}

template <class T>
void gate_hidden(const GateHidden<T>& a, cudaStream_t stream, int64_t most_blocks) {
  if (a.groups == 0 || a.group_tokens == 0) return;
  const Runs summed = runs_of(a.group_tokens, kLogitsOfRun), scaled = runs_of_rows(a.group_tokens, a.rank);
  launch("gate_hidden", sigmoid_sums_kernel<T>, warps_grid(a.groups * summed.count, most_blocks), kThreads, stream, a,
         summed);
  launch("gate_hidden", gate_hidden_kernel<T>, warps_grid(a.groups * scaled.count, most_blocks), kThreads, stream, a,
         summed, scaled);
}

template <class T>
void gate_hidden_backward(const GateHiddenBackward<T>& a, cudaStream_t stream, int64_t most_blocks) {
  if (a.groups == 0 || a.group_tokens == 0) return;
  const Runs runs = runs_of_rows(a.group_tokens, a.rank);
  const unsigned blocks = warps_grid(a.groups * runs.count, most_blocks);
  launch("gate_hidden_backward", inner_products_kernel<T>, blocks, kThreads, stream, a, runs);
  launch("gate_hidden_backward", gate_hidden_backward_kernel<T>, blocks, kThreads, stream, a, runs);
}

#define JOINTTUNER_INSTANCES(T)                                           \
  template int64_t partials(const GateHidden<T>&);                        \
  template int64_t partials(const GateHiddenBackward<T>&);                \
  template void gate_hidden(const GateHidden<T>&, cudaStream_t, int64_t); \
  template void gate_hidden_backward(const GateHiddenBackward<T>&, cudaStream_t, int64_t);
JOINTTUNER_INSTANCES(float)
JOINTTUNER_INSTANCES(c10::Half)
JOINTTUNER_INSTANCES(c10::BFloat16)
#undef JOINTTUNER_INSTANCES

}  // namespace jointtuner::kernels::cuda
