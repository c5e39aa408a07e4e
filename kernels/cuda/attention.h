// What the passes of attention share: where the rows of a head lie, how large the tiles are, and the arithmetic on a
// warp's part of the score matrix.
#pragma once

#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/tile.h"

#include <cmath>

namespace templar::cuda {

// ---- policy ---------------------------------------------------------------------------------------------------------
// Head sizes are padded, in shared memory only, to the next of 32, 64, 128, 256. fp32 has small tiles: it is for
// checking.

// A warp has whole rows of the scores, queries / warps of them. unroll: of the product with the keys, in steps of 16.
struct ForwardTiles {
    int queries, keys, warps, unroll = 4;
    __host__ __device__ constexpr int threads() const { return 32 * warps; }
};
// 256: 96 KB, so that two blocks share a Hopper SM and one computes while the other waits. Below, 32 rows for each
// warp: every fragment of keys and values read from shared memory serves two products.
template <class T, int head>
inline constexpr ForwardTiles forward_tiles{128, 64, 4};
template <>
inline constexpr ForwardTiles forward_tiles<__nv_bfloat16, 128>{128, 32, 4, 8};  // at 4 sm_80 spills
template <>
inline constexpr ForwardTiles forward_tiles<__nv_bfloat16, 256>{64, 64, 4};
template <int head>
inline constexpr ForwardTiles forward_tiles<float, head>{32, 32, 2};

// The warps share out the scores (queries × keys), and then the gradients (queries or keys × head), as a grid of rows
// and columns.
struct BackwardTiles {
    int queries, keys, warps, score_rows, gradient_rows;
    __host__ __device__ constexpr int threads() const { return 32 * warps; }
    __host__ __device__ constexpr int score_columns() const { return warps / score_rows; }
    __host__ __device__ constexpr int gradient_columns() const { return warps / gradient_rows; }
};
// 256: four tiles of 32 KB and two of scores, 144 KB: a block for each SM, sm_80 included. Its 256 threads keep 128 KB
// of dK and dV in registers.
template <class T, int head>
inline constexpr BackwardTiles backward_tiles{64, 64, 4, 2, 2};
template <>
inline constexpr BackwardTiles backward_tiles<__nv_bfloat16, 256>{64, 64, 8, 4, 2};
template <int head>
inline constexpr BackwardTiles backward_tiles<float, head>{32, 32, 4, 2, 2};

// run.operator()<head>() with the padded head size.
template <class Run>
void with_head_size(const char* operation, int64_t size, Run&& run) {
    require(operation, size > 0 && size <= 256, "a head size of at most 256");
    if (size <= 32) return run.template operator()<32>();
    if (size <= 64) return run.template operator()<64>();
    if (size <= 128) return run.template operator()<128>();
    return run.template operator()<256>();
}

// ---- shapes ---------------------------------------------------------------------------------------------------------
struct AttentionShape {
    int batch, seq, heads, groups, size;  // B, T, H, G, D
    bool aligned;                         // a head's rows begin and end on 16 bytes, in all tensors
    float scale;                          // of scores: 1/sqrt(D)

    __device__ int64_t qkv_stride() const { return int64_t{heads + 2 * groups} * size; }
    __device__ int64_t out_stride() const { return int64_t{heads} * size; }
    __device__ int group_of(int head) const { return head / (heads / groups); }
    // Places in a row of qkv.
    __device__ int query(int head) const { return head; }
    __device__ int key(int group) const { return heads + group; }
    __device__ int value(int group) const { return heads + groups + group; }

    // Up to `count` rows from position `first` on: of one place in qkv (B, T, H + 2G, D), of one head in out
    // (B, T, H, D).
    template <class T>
    __device__ GlobalRows<T> qkv_rows(T* qkv, int b, int place, int first, int count) const {
        return {qkv + (int64_t{b} * seq + first) * qkv_stride() + int64_t{place} * size, qkv_stride(),
                min(count, seq - first), size, aligned};
    }
    template <class T>
    __device__ GlobalRows<T> out_rows(T* out, int b, int head, int first, int count) const {
        return {out + (int64_t{b} * seq + first) * out_stride() + int64_t{head} * size, out_stride(),
                min(count, seq - first), size, aligned};
    }
    // Of lse and delta (B, H, T).
    __device__ int64_t row_statistics(int b, int head) const { return (int64_t{b} * heads + head) * seq; }
};

// Checks shapes and types against what the kernels take; `same_rows` are other tensors with heads of the same size.
template <class... Tensors>
AttentionShape attention_shape(const char* operation, Tensor out, Tensor qkv, Tensors... same_rows) {
    require(operation, out.rank == 4 && qkv.rank == 4, "out (B, T, H, D) and qkv (B, T, H + 2G, D)");
    const int64_t heads = out.shape[2], groups = (qkv.shape[2] - heads) / 2, size = qkv.shape[3];
    require(operation, groups > 0 && qkv.shape[2] == heads + 2 * groups && heads % groups == 0,
            "H query heads, a multiple of G");
    require(operation, out.shape[0] == qkv.shape[0] && out.shape[1] == qkv.shape[1] && out.shape[3] == size,
            "one B, T and D");
    require(operation, qkv.shape[0] < 65536 && heads < 65536 && qkv.shape[1] < (1 << 30), "B and H < 65536, T < 2^30");
    require_type(operation, out.dtype, {qkv, same_rows...});
    const auto aligned = [&](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.data) % 16 == 0; };
    return {
        .batch = static_cast<int>(qkv.shape[0]),
        .seq = static_cast<int>(qkv.shape[1]),
        .heads = static_cast<int>(heads),
        .groups = static_cast<int>(groups),
        .size = static_cast<int>(size),
        .aligned = size * bytes_of(out.dtype) % 16 == 0 && aligned(out) && aligned(qkv) && (aligned(same_rows) && ...),
        .scale = 1.0f / std::sqrt(static_cast<float>(size))};
}

// ---- a warp's part of the scores: element (row, column) of an Accumulator belongs to a query and a key --------------
// Of row g (half 0) or g + 8 (half 1) of tile m, counted from the part's first row.
__device__ __forceinline__ int part_row(int m, int half) {
    return 16 * m + 8 * half + static_cast<int>(threadIdx.x % 32 / 4);
}
__device__ __forceinline__ int part_column(int n, int i) {
    return 8 * n + static_cast<int>(threadIdx.x % 4) * 2 + i;
}

// Scores whose key lies after the query become -inf; `query` and `key` are the part's first ones.
template <int m_tiles, int n_tiles>
__device__ __forceinline__ void mask_future(Accumulator (&scores)[m_tiles][n_tiles], int query, int key) {
    if (key + 8 * n_tiles - 1 <= query) return;
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int n = 0; n < n_tiles; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                if (key + part_column(n, i % 2) > query + part_row(m, i / 2)) scores[m][n].x[i] = -INFINITY;
}

// The four lanes that hold a row.
__device__ __forceinline__ float quad_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(~0u, value, 1));
    return fmaxf(value, __shfl_xor_sync(~0u, value, 2));
}
__device__ __forceinline__ float quad_sum(float value) {
    value += __shfl_xor_sync(~0u, value, 1);
    return value + __shfl_xor_sync(~0u, value, 2);
}

}  // namespace templar::cuda
