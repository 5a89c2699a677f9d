// Without dropout the update is one GEMM that accumulates into y, which cuBLAS does best (glora_binding.cpp). With
// dropout its result would have to be written (an M-wide tensor) and read again to be masked: 4 sizeof(T) more bytes an
// element. Here a tile of it is computed in registers and masked as it is added to y:
//   2 sizeof(T) bytes an element of y from memory; tiles of hidden and up, 2 (rank / 64) sizes of an element each, come
//   from the second-level cache. The composition moves 4 sizeof(T) and some 150 for the mask's integers.
// The 2 rank multiply-adds an element (not on tensor cores) hide behind these bytes up to a rank of some 32 to 128,
// by GPU.
#include "low_rank_update.h"

#include "device/tile_product.h"

namespace jointtuner::kernels::cuda {
namespace {

template <class T>
__device__ void add_masked(const LowRankUpdate<T>& a, const Sums& sums, int64_t row, int64_t column) {
  const int64_t left = a.columns - column;
  if (left <= 0) return;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (row + i >= a.tokens) return;
    const int64_t first = (row + i) * a.columns + column;
    const Floats<4> factors = dropout_factors(a.dropout, first);
    Floats<4> y = load<4>(a.y + first, left);
#pragma unroll
    for (int j = 0; j < 4; ++j) y[j] += sums.rows[i][j] * factors[j];
    store<4>(a.y + first, y, left);
  }
}

template <class T>
__global__ void __launch_bounds__(kTileThreads, kTileBlocks) low_rank_update_kernel(LowRankUpdate<T> a) {
  const int64_t across = tiles(a.columns), count = tiles(a.tokens) * across;
  for (int64_t tile = blockIdx.x; tile < count; tile += gridDim.x) {
    const int64_t row = tile / across * kTile, column = tile % across * kTile;
    Sums sums;
    add_terms(sums, 0, a.rank, [&](Quad* hidden, Quad* up, int64_t k) {
      fill_from_columns(hidden, Matrix<T>{a.hidden, a.tokens, a.rank}, row, k);
      fill_from_columns(up, Matrix<float>{a.up, a.columns, a.rank}, column, k);
    });
    add_masked(a, sums, row + tile_row(), column + tile_column());
  }
}

}  // namespace

template <class T>
void low_rank_update(const LowRankUpdate<T>& a, cudaStream_t stream, int64_t most_blocks) {
  if (a.tokens == 0 || a.columns == 0 || a.rank == 0) return;
  const auto blocks = static_cast<unsigned>(std::min(tiles(a.tokens) * tiles(a.columns), most_blocks));
  launch("low_rank_update", low_rank_update_kernel<T>, blocks, kTileThreads, stream, a);
}

template void low_rank_update(const LowRankUpdate<float>&, cudaStream_t, int64_t);
template void low_rank_update(const LowRankUpdate<c10::Half>&, cudaStream_t, int64_t);
template void low_rank_update(const LowRankUpdate<c10::BFloat16>&, cudaStream_t, int64_t);

}  // namespace jointtuner::kernels::cuda
