// What the versions of loss_eval share: a row's running sum, the question each kernel is asked and how the work is
// split.
//
// The grid is (splits of the vocabulary) x (tiles of rows). A block keeps its rows, walks over the vocabulary tiles
// of its split, and leaves one RowSum for each row and split; a last kernel combines them in the order of the splits.
#pragma once

#include "kernels/cuda/fast_math.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace templar::cuda {

// Σ e^z over some logits of a row, kept as sum · 2^max. The largest logit is kept times log2(e), so that each term is
// one fused multiply-add and one exp2.
struct RowSum {
    float max;
    float sum;
};
// Below every logit, yet finite: with -inf a thread that saw no column would take -inf - -inf.
inline constexpr RowSum empty_row_sum{-1e30f, 0.0f};

__device__ __forceinline__ RowSum merge(RowSum a, RowSum b) {
    const float max = fmaxf(a.max, b.max);
    return {max, a.sum * exp2_approx(a.max - max) + b.sum * exp2_approx(b.max - max)};
}

// Adds the columns of one tile that a thread holds for one row: z[i] belongs to column `column` + 8·(i / 2) + i % 2,
// as in the fragments of mma and wgmma. What lies past the vocabulary adds 0. The label's logit goes to *target.
template <int count>
__device__ __forceinline__ RowSum add_columns(RowSum row, float (&z)[count], int column, int vocab, int label,
                                              float* target) {
    constexpr int width = 4 * count;
    if (column + width > vocab) {
#pragma unroll
        for (int i = 0; i < count; ++i)
            if (column + i / 2 * 8 + i % 2 >= vocab) z[i] = -INFINITY;
    }
    if (label >= column && label - column < width) {
#pragma unroll
        for (int i = 0; i < count; ++i)
            if (label - column == i / 2 * 8 + i % 2) *target = z[i];
    }
    float largest = z[0];
#pragma unroll
    for (int i = 1; i < count; ++i) largest = fmaxf(largest, z[i]);
    const float max = fmaxf(row.max, largest * log2_e);
    float sum = row.sum * exp2_approx(row.max - max);
#pragma unroll
    for (int i = 0; i < count; ++i) sum += exp2_approx(fmaf(z[i], log2_e, -max));
    return {max, sum};
}

// The sum over four neighbouring lanes, which hold parts of one row; every lane of the warp calls it.
__device__ __forceinline__ RowSum merge_quad(RowSum row) {
#pragma unroll
    for (int distance = 1; distance < 4; distance *= 2) {
        const RowSum other{__shfl_xor_sync(~0u, row.max, distance), __shfl_xor_sync(~0u, row.sum, distance)};
        row = merge(row, other);
    }
    return row;
}

template <class T>
struct LossEvalTask {
    const T* hidden;        // (rows, depth)
    const T* head;          // (vocab, depth)
    const int32_t* labels;  // (rows)
    int rows, depth, vocab, splits;
    bool aligned;  // rows of hidden and head are whole packs of 16 bytes
    RowSum* sums;    // (rows, splits)
    float* targets;  // (rows): the label's logit, written by the one thread that meets it
};

// A block's logits at a time.
inline constexpr int tile_rows = 128;
template <class T>
inline constexpr int tile_columns = sizeof(T) == 2 ? 256 : 128;  // fp32 fragments take twice the registers

// The vocabulary tiles of one split: all splits differ by one tile at most.
struct TileRange {
    int begin, end;
};
__device__ __forceinline__ TileRange tiles_of_split(int vocab_tiles, int split, int splits) {
    return {static_cast<int>(int64_t{vocab_tiles} * split / splits),
            static_cast<int>(int64_t{vocab_tiles} * (split + 1) / splits)};
}

// Policy: into how many parts the vocabulary is split. The GPU runs `resident` blocks at a time, all equally long, so
// a call takes waves x tiles of a split. Among the splits within 2 % of the shortest, the one whose resident blocks
// read the fewest different rows of hidden and head: they come from L2, which holds 50 MB on an H200. For 32768 x 32000
// at C = 2048 on 132 multiprocessors: 7 splits of 17 or 18 tiles, 96 % of the blocks' time used, 17 MB in use at a
// time.
inline constexpr int max_splits = 32;
inline int choose_splits(int row_tiles, int vocab_tiles, int tile_rows, int tile_columns, int resident) {
    const auto duration = [&](int splits) {
        const int64_t blocks = int64_t{row_tiles} * splits;
        const double block = (vocab_tiles + splits - 1) / splits + 0.1;  // 0.1: filling the pipeline, the reduction
        return static_cast<double>((blocks + resident - 1) / resident) * block;
    };
    const auto rows_read = [&](int splits) {
        const int tiles_resident = std::min(row_tiles, std::max(1, resident / splits));
        return int64_t{tiles_resident} * tile_rows + int64_t{splits} * tile_columns;
    };
    const int most = std::min(max_splits, vocab_tiles);
    double shortest = duration(1);
    for (int splits = 2; splits <= most; ++splits) shortest = std::min(shortest, duration(splits));
    int best = 0;
    for (int splits = 1; splits <= most; ++splits)
        if (duration(splits) <= 1.02 * shortest && (best == 0 || rows_read(splits) < rows_read(best))) best = splits;
    return best;
}

}  // namespace templar::cuda
