// Two products with one masked factor, E. Each reads grad_y once for every 64 columns of its result and draws the mask
// anew: up to a rank of 64 that is 2 sizeof(T) bytes an element of grad_y together. To write E down once and read it
// for both would take 4 sizeof(T) and memory as wide as grad_y; the composition does, widens E to float32 for one
// product (8 bytes more) and moves some 150 bytes for the mask's integers.
//
// Where a result has few tiles, its sums are cut into runs that depend on the sizes alone, each run's sums are written
// down, and a second stage adds the runs in order: the same bits at every repetition and on every GPU.
#include "low_rank_backward.h"

#include "device/tile_product.h"

namespace jointtuner::kernels::cuda {
namespace {

constexpr int64_t kTilesWanted = 256;  // occupy a large GPU
constexpr int64_t kFewestTerms = 256;  // of a run: what is written down stays small beside what is read

int64_t quotient_above(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// A result [rows, columns] and how the sums behind it are cut.
struct Plan {
  int64_t rows, columns, terms;
  int64_t run_terms, runs;

  Plan(int64_t result_rows, int64_t result_columns, int64_t sum_terms)
      : rows(result_rows), columns(result_columns), terms(sum_terms) {
    const int64_t most = std::max<int64_t>(1, terms / kFewestTerms);
    const int64_t wanted = quotient_above(kTilesWanted, std::max<int64_t>(1, tiles(rows) * tiles(columns)));
    run_terms = quotient_above(quotient_above(terms, std::min(wanted, most)), kDepth) * kDepth;
    runs = std::max<int64_t>(1, quotient_above(terms, std::max<int64_t>(1, run_terms)));
  }
  int64_t tile_count() const { return runs * tiles(rows) * tiles(columns); }
  int64_t partials() const { return runs == 1 ? 0 : runs * rows * columns; }
};

/// Where the sums of a run go.
struct Target {
  float* data;
  int64_t row_stride, run_stride;
};

/// Calls product(sums, row, column, first term, end) for the tiles of this block, and writes the sums down.
template <class Product>
__device__ void for_each_tile(const Plan& plan, const Target& target, const Product& product) {
  const int64_t across = tiles(plan.columns), down = tiles(plan.rows), count = plan.runs * down * across;
  for (int64_t tile = blockIdx.x; tile < count; tile += gridDim.x) {
    const int64_t column = tile % across * kTile, row = tile / across % down * kTile, run = tile / across / down;
    Sums sums;
    product(sums, row, column, run * plan.run_terms, std::min(plan.terms, (run + 1) * plan.run_terms));
    const int64_t first = column + tile_column(), left = plan.columns - first;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t line = row + tile_row() + i;
      if (left <= 0 || line >= plan.rows) continue;
      store<4>(target.data + run * target.run_stride + line * target.row_stride + first, sums.rows[i], left);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks)
    grad_hidden_kernel(LowRankBackward<T> a, Plan plan, Target target) {
  const Dropped<T> kept{{a.grad_y, a.tokens, a.columns}, a.dropout};
  for_each_tile(plan, target, [&](Sums& sums, int64_t row, int64_t column, int64_t first, int64_t end) {
    add_terms(sums, first, end, [&](Quad* grad_y, Quad* up, int64_t k) {
      fill_from_columns(grad_y, kept, row, k);
      fill_from_rows(up, Matrix<float>{a.up, a.columns, a.rank}, k, column);
    });
  });
}

template <class T>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks)
    grad_up_kernel(LowRankBackward<T> a, Plan plan, Target target) {
  const Dropped<T> kept{{a.grad_y, a.tokens, a.columns}, a.dropout};
  for_each_tile(plan, target, [&](Sums& sums, int64_t row, int64_t column, int64_t first, int64_t end) {
    add_terms(sums, first, end, [&](Quad* grad_y, Quad* hidden, int64_t k) {
      fill_from_rows(grad_y, kept, k, row);
      fill_from_rows(hidden, Matrix<T>{a.hidden, a.tokens, a.rank}, k, column);
    });
  });
}

__global__ void __launch_bounds__(kThreads) sum_of_runs_kernel(const float* partial, Plan plan, Target target) {
  const int64_t elements = plan.rows * plan.columns;
  for_each_pack<1>(elements, [&](int64_t i, int64_t) {
    float sum = 0;
    for (int64_t run = 0; run < plan.runs; ++run) sum += read(partial + run * elements + i);
    write(target.data + i / plan.columns * target.row_stride + i % plan.columns, sum);
  });
}

template <class T>
using Kernel = void (*)(LowRankBackward<T>, Plan, Target);

template <class T>
void run_product(const char* op, Kernel<T> kernel, const LowRankBackward<T>& a, const Plan& plan, const Target& result,
                 cudaStream_t stream, int64_t most_blocks) {
  if (plan.rows == 0 || plan.columns == 0) return;
  const auto blocks = static_cast<unsigned>(std::min(plan.tile_count(), most_blocks));
  if (plan.runs == 1) return launch(op, kernel, blocks, kTileThreads, stream, a, plan, result);
  const Target partial{a.partial, plan.columns, plan.rows * plan.columns};
  launch(op, kernel, blocks, kTileThreads, stream, a, plan, partial);
  launch(op, sum_of_runs_kernel, packs_grid(1, plan.rows * plan.columns, 1, most_blocks), kThreads, stream, a.partial,
         plan, result);
}

template <class T>
Plan hidden_plan(const LowRankBackward<T>& a) {
  return Plan(a.tokens, a.rank, a.columns);
}
template <class T>
Plan up_plan(const LowRankBackward<T>& a) {
  return Plan(a.columns, a.rank, a.tokens);
}

}  // namespace

template <class T>
int64_t partials(const LowRankBackward<T>& a) {
  return std::max(hidden_plan(a).partials(), up_plan(a).partials());
}

template <class T>
void low_rank_backward(const LowRankBackward<T>& a, cudaStream_t stream, int64_t most_blocks) {
  run_product("low_rank_backward", grad_hidden_kernel<T>, a, hidden_plan(a),
              Target{a.grad_hidden, a.grad_hidden_stride, 0}, stream, most_blocks);
  LowRankBackward<T> scaled = a;
  scaled.dropout.kept *= a.scale;
  run_product("low_rank_backward", grad_up_kernel<T>, scaled, up_plan(a), Target{a.grad_up, a.rank, 0}, stream,
              most_blocks);
}

#define JOINTTUNER_INSTANCES(T)                         \
  template int64_t partials(const LowRankBackward<T>&); \
  template void low_rank_backward(const LowRankBackward<T>&, cudaStream_t, int64_t);
JOINTTUNER_INSTANCES(float)
JOINTTUNER_INSTANCES(c10::Half)
JOINTTUNER_INSTANCES(c10::BFloat16)
#undef JOINTTUNER_INSTANCES

}  // namespace jointtuner::kernels::cuda
