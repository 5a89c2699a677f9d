// A small matrix product of a block: C [64, 64] += sum over k < 32 of a[k][i] b[k][j], both factors in shared memory in
// float32, 16 results a thread. An element's sum runs over k in order, so that neither the grid nor the GPU changes a
// bit of it.
#pragma once
#include "dropout.h"

namespace jointtuner::kernels::cuda {

inline constexpr int kTile = 64;   // rows and columns of a block's result
inline constexpr int kDepth = 32;  // terms of its sums that lie in shared memory at a time
inline constexpr int kQuads = kTile / 4;
inline constexpr int kPitch = kQuads + 1;  // of a factor's row in quads: a column is spread over eight banks
inline constexpr int kFactorQuads = kDepth * kPitch;
inline constexpr unsigned kTileThreads = kQuads * kQuads;
inline constexpr int kTileBlocks = 3;  // resident on a processor: without the wish the compiler aims at 4 and spills

using Quad = Raw<float, 4>;  // aligned, unlike Floats<4>

/// A thread's four rows and four columns of C.
struct Sums {
  Floats<4> rows[4] = {};
};
__device__ inline int tile_row() { return static_cast<int>(threadIdx.x) / kQuads * 4; }
__device__ inline int tile_column() { return static_cast<int>(threadIdx.x) % kQuads * 4; }

__device__ inline void add_product(Sums& sums, const Quad* a, const Quad* b, int depth) {
  const int row = tile_row() / 4, column = tile_column() / 4;
#pragma unroll 4
  for (int k = 0; k < depth; ++k) {
    const Quad left = a[k * kPitch + row], right = b[k * kPitch + column];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums.rows[i][j] += left.values[i] * right.values[j];
    }
  }
}

/// A contiguous row-major matrix; reads of it give zeros outside.
template <class T>
struct Matrix {
  const T* data;
  int64_t rows, columns;

  __device__ bool holds(int64_t row, int64_t column) const { return row < rows && column < columns; }
  /// Elements column .. column + 3 of a row.
  __device__ Floats<4> quad(int64_t row, int64_t column) const {
    if (!holds(row, column)) return {};
    return load<4>(data + row * columns + column, columns - column);
  }
};

/// Dropout(matrix).
template <class T>
struct Dropped {
  Matrix<T> matrix;
  Dropout mask;

  __device__ Floats<4> quad(int64_t row, int64_t column) const {
    if (!matrix.holds(row, column)) return {};
    Floats<4> values = matrix.quad(row, column);
    const Floats<4> factors = dropout_factors(mask, row * matrix.columns + column);
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] *= factors[i];
    return values;
  }
};

/// factor[k][i] = source(row + k, column + i): the sum runs over the source's rows.
template <class Source>
__device__ void fill_from_rows(Quad* factor, const Source& source, int64_t row, int64_t column) {
#pragma unroll
  for (int share = 0; share < kDepth * kQuads; share += static_cast<int>(kTileThreads)) {
    const int q = share + static_cast<int>(threadIdx.x), k = q / kQuads, i = q % kQuads;
    const Floats<4> values = source.quad(row + k, column + i * 4);
    factor[k * kPitch + i] = {{values[0], values[1], values[2], values[3]}};
  }
}

/// factor[k][i] = source(row + i, column + k): the sum runs over the source's columns.
template <class Source>
__device__ void fill_from_columns(Quad* factor, const Source& source, int64_t row, int64_t column) {
#pragma unroll
  for (int share = 0; share < kTile * kDepth / 4; share += static_cast<int>(kTileThreads)) {
    const int q = share + static_cast<int>(threadIdx.x), i = q / (kDepth / 4), k = q % (kDepth / 4) * 4;
    const Floats<4> values = source.quad(row + i, column + k);
#pragma unroll
    for (int j = 0; j < 4; ++j) factor[(k + j) * kPitch + i / 4].values[i % 4] = values[j];
  }
}

/// Terms of the sum from k to the end, at most kDepth.
__device__ inline int depth_at(int64_t k, int64_t end) { return static_cast<int>(end - k < kDepth ? end - k : kDepth); }

/// sums += the products of the terms [first, end). fill(a, b, k) puts those from k on into the factors' shared memory.
template <class Fill>
__device__ void add_terms(Sums& sums, int64_t first, int64_t end, const Fill& fill) {
  JOINTTUNER_SHARED(Quad, a, kFactorQuads);
  JOINTTUNER_SHARED(Quad, b, kFactorQuads);
  for (int64_t k = first; k < end; k += kDepth) {
    fill(a, b, k);
    __syncthreads();
    add_product(sums, a, b, depth_at(k, end));
    __syncthreads();  // the next terms go there
  }
}

__host__ __device__ inline int64_t tiles(int64_t extent) { return (extent + kTile - 1) / kTile; }

}  // namespace jointtuner::kernels::cuda
