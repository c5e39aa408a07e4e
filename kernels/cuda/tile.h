// Matrices in shared memory and products of them by one warp: what kernels on tensor cores (attention, loss_eval) are
// made of.
#pragma once

#include "kernels/cuda/memory.h"
#include "kernels/cuda/mma.h"

namespace templar::cuda {

// A row-major matrix in shared memory. In bf16 the 16-byte chunks of a row change places by XOR with the row, so that
// the eight rows that ldmatrix reads together, and the rows that a warp writes together, lie in different banks. fp32
// stays as it is: for that, the many addresses cost more registers than there are.
template <class T, int rows_, int columns_>
struct SharedTile {
    static constexpr int rows = rows_, columns = columns_;
    static constexpr int chunk = 16 / sizeof(T);    // elements
    static constexpr int chunks = columns / chunk;  // of a row
    static constexpr int span = sizeof(T) > 2 ? 1
                                : chunks < 8  ? chunks
                                              : 8;  // chunks that change places; 8 fill all banks
    static_assert(columns % chunk == 0 && (chunks % 8 == 0 || 8 % chunks == 0));

    alignas(128) T values[rows * columns];

    __device__ __forceinline__ T* at(int row, int column) {
        const int place = column / chunk, moved = place % span ^ row / (8 / span) % span;
        return values + row * columns + (place / span * span + moved) * chunk + column % chunk;
    }
    __device__ __forceinline__ const T* at(int row, int column) const {
        return const_cast<SharedTile*>(this)->at(row, column);
    }
};

// A matrix in global memory, up to a tile's size: what is not there counts as zeros and is not written.
template <class T>
struct GlobalRows {
    T* first;
    int64_t stride;  // elements from one row to the next
    int rows, columns;
    bool aligned;  // `first`, stride and columns are multiples of 16 bytes
};

// tile = from, by all `threads` of the block. A group of copies in the sense of memory.h: commit, wait, barrier.
template <int threads, class Tile, class T>
__device__ __forceinline__ void load_tile(Tile& tile, const GlobalRows<const T>& from) {
    const int thread = threadIdx.x;
    if (from.aligned) {
        // A thread stays in its column of chunks and steps down: one address, not one for each copy.
        static_assert(threads % Tile::chunks == 0);
        constexpr int step = threads / Tile::chunks;
        const int first = thread / Tile::chunks, column = thread % Tile::chunks * Tile::chunk;
        const bool inside = column < from.columns;
        const T* source = from.first + first * from.stride + column;
        const int64_t stride = step * from.stride;
#pragma unroll
        for (int down = 0; down < Tile::rows; down += step) {
            const int row = first + down;
            if (Tile::rows % step == 0 || row < Tile::rows)
                copy_async_16(tile.at(row, column), source, inside && row < from.rows);
            source += stride;
        }
    } else {
#pragma unroll 1
        for (int i = thread; i < Tile::rows * Tile::columns; i += threads) {
            const int row = i / Tile::columns, column = i % Tile::columns;
            const bool valid = row < from.rows && column < from.columns;
            *tile.at(row, column) = valid ? from.first[row * from.stride + column] : T(0.0f);
        }
    }
}

// to = tile, by all `threads` of the block; a barrier must have made the tile whole.
template <int threads, class Tile, class T>
__device__ __forceinline__ void store_tile(const GlobalRows<T>& to, const Tile& tile) {
    const int thread = threadIdx.x;
    if (to.aligned) {
#pragma unroll 4
        for (int i = thread; i < Tile::rows * Tile::chunks; i += threads) {
            const int row = i / Tile::chunks, column = i % Tile::chunks * Tile::chunk;
            if (row < to.rows && column < to.columns)
                *reinterpret_cast<int4*>(to.first + row * to.stride + column) =
                    *reinterpret_cast<const int4*>(tile.at(row, column));
        }
    } else {
#pragma unroll 1
        for (int i = thread; i < Tile::rows * Tile::columns; i += threads) {
            const int row = i / Tile::columns, column = i % Tile::columns;
            if (row < to.rows && column < to.columns) to.first[row * to.stride + column] = *tile.at(row, column);
        }
    }
}

// ---- operands of a product, read from tiles -------------------------------------------------------------------------
// The operand is op(tile), the tile or its transpose; (m, k) and (k, n) are the operand's first row and column in it.

// The four matrices of ldmatrix are numbered, in the tile, down first or to the right first.
template <bool down_first, class Tile>
__device__ __forceinline__ const void* matrix_row(const Tile& tile, int row, int column) {
    const int lane = threadIdx.x % 32, first = lane / 8 % 2 * 8, second = lane / 16 * 8;
    return down_first ? tile.at(row + first + lane % 8, column + second)
                      : tile.at(row + second + lane % 8, column + first);
}

template <bool transpose, int rows, int columns>
__device__ __forceinline__ void load_a(FragmentA<__nv_bfloat16>& a,
                                       const SharedTile<__nv_bfloat16, rows, columns>& tile, int m, int k) {
    if constexpr (transpose)
        load_matrices_transposed(a.x, matrix_row<false>(tile, k, m));
    else
        load_matrices(a.x, matrix_row<true>(tile, m, k));
}
template <bool transpose, int rows, int columns>
__device__ __forceinline__ void load_a(FragmentA<float>& a, const SharedTile<float, rows, columns>& tile, int m,
                                       int k) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int row = m + lane / 4 + i / 2 % 2 * 8, column = k + lane % 4 * 2 + i % 2 + i / 4 * 8;
        a.x[i] = transpose ? *tile.at(column, row) : *tile.at(row, column);
    }
}

// Two fragments: columns n … n + 7 and n + 8 … n + 15.
template <bool transpose, int rows, int columns>
__device__ __forceinline__ void load_b(FragmentB<__nv_bfloat16> (&b)[2],
                                       const SharedTile<__nv_bfloat16, rows, columns>& tile, int k, int n) {
    uint32_t x[4];
    if constexpr (transpose)
        load_matrices(x, matrix_row<false>(tile, n, k));
    else
        load_matrices_transposed(x, matrix_row<true>(tile, k, n));
    b[0] = {{x[0], x[1]}};
    b[1] = {{x[2], x[3]}};
}
template <bool transpose, int rows, int columns>
__device__ __forceinline__ void load_b(FragmentB<float> (&b)[2], const SharedTile<float, rows, columns>& tile, int k,
                                       int n) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int row = k + lane % 4 * 2 + i % 2 + i / 2 % 2 * 8, column = n + lane / 4 + i / 4 * 8;
        b[i / 4].x[i % 4] = transpose ? *tile.at(column, row) : *tile.at(row, column);
    }
}

// ---- a warp's product -----------------------------------------------------------------------------------------------
// A warp's part of a result: 16·m_tiles rows, 8·n_tiles columns.

template <int m_tiles, int n_tiles>
__device__ __forceinline__ void clear(Accumulator (&d)[m_tiles][n_tiles]) {
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int n = 0; n < n_tiles; ++n) d[m][n] = {{0.0f, 0.0f, 0.0f, 0.0f}};
}

// d += op(a)·op(b): rows from m0 on of op(a), columns from n0 on of op(b), over `depth`. unroll: steps of 16; at 4 the
// places of chunks repeat, so that addresses are constants apart.
template <bool transpose_a, bool transpose_b, int depth, int unroll = 4, class T, int m_tiles, int n_tiles, int ra,
          int ca, int rb, int cb>
__device__ __forceinline__ void multiply(Accumulator (&d)[m_tiles][n_tiles], const SharedTile<T, ra, ca>& a, int m0,
                                         const SharedTile<T, rb, cb>& b, int n0) {
    static_assert(depth % 16 == 0 && n_tiles % 2 == 0);
#pragma unroll(sizeof(T) == 2 ? unroll : 1)
    for (int k = 0; k < depth; k += 16) {
        FragmentA<T> of_a[m_tiles];
#pragma unroll
        for (int m = 0; m < m_tiles; ++m) load_a<transpose_a>(of_a[m], a, m0 + 16 * m, k);
#pragma unroll
        for (int n = 0; n < n_tiles; n += 2) {
            FragmentB<T> of_b[2];
            load_b<transpose_b>(of_b, b, k, n0 + 8 * n);
#pragma unroll
            for (int m = 0; m < m_tiles; ++m) {
                mma(d[m][n], of_a[m], of_b[0]);
                mma(d[m][n + 1], of_a[m], of_b[1]);
            }
        }
    }
}

// d += a·op(b), a being the results of a product before (as_operand).
template <bool transpose_b, class T, int m_tiles, int n_tiles, int k_tiles, int rb, int cb>
__device__ __forceinline__ void multiply(Accumulator (&d)[m_tiles][n_tiles], const FragmentA<T> (&a)[m_tiles][k_tiles],
                                         const SharedTile<T, rb, cb>& b, int n0) {
    static_assert(n_tiles % 2 == 0);
#pragma unroll
    for (int k = 0; k < k_tiles; ++k)
#pragma unroll
        for (int n = 0; n < n_tiles; n += 2) {
            FragmentB<T> of_b[2];
            load_b<transpose_b>(of_b, b, 16 * k, n0 + 8 * n);
#pragma unroll
            for (int m = 0; m < m_tiles; ++m) {
                mma(d[m][n], a[m][k], of_b[0]);
                mma(d[m][n + 1], a[m][k], of_b[1]);
            }
        }
}

// tile from (row, column) on = a warp's part of a result, times `factor`.
template <class T, int rows, int columns, int m_tiles, int n_tiles>
__device__ __forceinline__ void store_part(SharedTile<T, rows, columns>& tile, int row, int column,
                                           const Accumulator (&d)[m_tiles][n_tiles], float factor = 1.0f) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int n = 0; n < n_tiles; ++n)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                T* const to = tile.at(row + 16 * m + 8 * half + lane / 4, column + 8 * n + lane % 4 * 2);
                const float low = d[m][n].x[2 * half] * factor, high = d[m][n].x[2 * half + 1] * factor;
                if constexpr (sizeof(T) == 2)
                    *reinterpret_cast<uint32_t*>(to) = pack_bf16(low, high);
                else
                    *reinterpret_cast<float2*>(to) = make_float2(low, high);
            }
}

}  // namespace templar::cuda
