// A small matrix product that stays in the caches, from tiles that stay in registers: the core of attention and of our
// own matmul.
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

template <int vectors>
inline void tile_column(float* c, int64_t ldc, Left left, const float* b, int64_t ldb, int64_t m, int64_t k, bool accumulate) {
    int64_t i = 0;
    for (; i + tile_rows <= m; i += tile_rows)
        tile<tile_rows, vectors>(c + i * ldc, ldc, {left.a + i * left.row, left.row, left.col}, b, ldb, k, accumulate);
    const Left rest{left.a + i * left.row, left.row, left.col};
    float* const last = c + i * ldc;
    switch (m - i) {
        case 1: return tile<1, vectors>(last, ldc, rest, b, ldb, k, accumulate);
        case 2: return tile<2, vectors>(last, ldc, rest, b, ldb, k, accumulate);
        case 3: return tile<3, vectors>(last, ldc, rest, b, ldb, k, accumulate);
        case 4: return tile<4, vectors>(last, ldc, rest, b, ldb, k, accumulate);
        case 5: return tile<5, vectors>(last, ldc, rest, b, ldb, k, accumulate);
        default: return;
    }
}

// c (m, n) = a (m, k) · b (k, n) + (accumulate ? c : 0), n a multiple of `lanes`, rows of b and c ldb and ldc apart.
inline void small_gemm(float* c, int64_t ldc, Left left, const float* b, int64_t ldb, int64_t m, int64_t n, int64_t k, bool accumulate) {
    int64_t j = 0;
    for (; j + tile_cols <= n; j += tile_cols)
        tile_column<tile_vectors>(c + j, ldc, left, b + j, ldb, m, k, accumulate);
    for (; j < n; j += lanes) tile_column<1>(c + j, ldc, left, b + j, ldb, m, k, accumulate);
}

}  // namespace templar::TEMPLAR_ISA
