// A small matrix product that stays in the caches, from tiles that stay in registers: the core of attention
// and of our own matmul.
#pragma once

#include "kernels/cpu/isa/simd.h"

namespace templar::TEMPLAR_ISA {

// The largest tile: 24 (AVX-512) or 12 accumulators, and room for one row of b and one element of a.
constexpr int64_t tile_rows = 6;
constexpr int64_t tile_vectors = lanes == 16 ? 4 : 2;
constexpr int64_t tile_cols = tile_vectors * lanes;

// Element (i, p) of the left factor is a[i·row + p·col].
struct Left {
    const float* a;
    int64_t row, col;
};

// c (rows, vectors·lanes) = a (rows, k) · b (k, vectors·lanes) + (accumulate ? c : 0)
template <int rows, int vectors>
inline void tile(float* c, int64_t ldc, Left left, const float* b, int64_t ldb, int64_t k, bool accumulate) {
    FloatVector sums[rows][vectors];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) sums[r][v] = FloatVector{};
    for (int64_t p = 0; p < k; ++p) {
        FloatVector right[vectors];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) right[v] = load(b + p * ldb + v * lanes);
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
            const float a = left.a[r * left.row + p * left.col];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) sums[r][v] += a * right[v];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            float* const to = c + r * ldc + v * lanes;
            store(to, accumulate ? load(to) + sums[r][v] : sums[r][v]);
        }
}

// The rows that no full tile covers, fewer than `rows`.
template <int rows, int vectors>
inline void last_rows(int64_t m, float* c, int64_t ldc, Left left, const float* b, int64_t ldb, int64_t k,
                      bool accumulate) {
    if constexpr (rows > 1) {
        if (m == rows - 1) return tile<rows - 1, vectors>(c, ldc, left, b, ldb, k, accumulate);
        last_rows<rows - 1, vectors>(m, c, ldc, left, b, ldb, k, accumulate);
    }
}

template <int vectors>
inline void tile_column(float* c, int64_t ldc, Left left, const float* b, int64_t ldb, int64_t m, int64_t k,
                        bool accumulate) {
    for (; m >= tile_rows; m -= tile_rows) {
        tile<tile_rows, vectors>(c, ldc, left, b, ldb, k, accumulate);
        c += tile_rows * ldc;
        left.a += tile_rows * left.row;
    }
    last_rows<tile_rows, vectors>(m, c, ldc, left, b, ldb, k, accumulate);
}

// c (m, n) = a (m, k) · b (k, n) + (accumulate ? c : 0), n a multiple of `lanes`; rows of b are ldb apart, of c ldc.
inline void small_gemm(float* c, int64_t ldc, Left left, const float* b, int64_t ldb, int64_t m, int64_t n,
                       int64_t k, bool accumulate) {
    int64_t j = 0;
    for (; j + tile_cols <= n; j += tile_cols)
        tile_column<tile_vectors>(c + j, ldc, left, b + j, ldb, m, k, accumulate);
    for (; j < n; j += lanes) tile_column<1>(c + j, ldc, left, b + j, ldb, m, k, accumulate);
}

}  // namespace templar::TEMPLAR_ISA
