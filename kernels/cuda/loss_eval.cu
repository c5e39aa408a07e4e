// losses (N): log Σ_v e^(z_iv) - z_i,label of the logits z = hidden (N, C) · head (V, C)ᵀ; 0 where the label is below
// 0. greedy (N) u8, where it is wanted: whether the label's logit is the largest.
//
// The logits are made tile by tile in registers and go into a running log-sum-exp there (loss_eval_parts.h): memory
// holds two numbers for each row and split instead of V logits. So the call reads hidden and head, writes 4N bytes,
// and costs the product's 2·N·C·V operations: 4.3 TFLOP for 32768 tokens of the 1.2B model, 5.7 ms at cuBLASLt's 750
// TFLOP/s.
//
// A block owns 128 rows and walks over tiles of 256 vocabulary entries, 64 bytes of C at a time, through a ring of
// four stages in shared memory that cp.async fills three stages ahead, across the tiles' borders: the exponentials of
// one tile run while the next one's first stages arrive. 8 warps of 64 x 64 logits each keep them in registers, 128
// per thread. Bound (bf16): mma.sync reaches about 62 % of Hopper's peak; shared memory is then read at 79 B per
// clock and filled at 29, of 128. One exponential for C multiply-adds is 4 % of a tile's time at C = 2048. Not yet
// measured. 96 KB of shared memory: it also runs on the consumer GPUs of sm_86 and sm_89. fp32 is there for checks.
#include "kernels/cuda/loss_eval.h"

#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/loss_eval_parts.h"
#include "kernels/cuda/loss_eval_wgmma.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/tile.h"

#include <limits>

namespace templar::cuda {

namespace {

// ---- tiles --------------------------------------------------------------------------------------------------------

constexpr int stages = 4;
constexpr int warps_down = 2, warps_across = 4, threads = 32 * warps_down * warps_across;
template <class T>
constexpr int tile_depth = 64 / static_cast<int>(sizeof(T));

template <class T>
struct Stage {
    SharedTile<T, tile_rows, tile_depth<T>> hidden;
    SharedTile<T, tile_columns<T>, tile_depth<T>> head;
};
template <class T>
union Storage {
    Stage<T> stage[stages];
    RowSum sums[warps_across][tile_rows];  // at the end
};

// Fills the stages in the order in which they are used: for each vocabulary tile, all of C.
template <class T>
struct Loader {
    const LossEvalTask<T>& task;
    int first_row, column, k;  // of the next stage

    __device__ __forceinline__ void fill(Stage<T>& stage) {
        load_tile<threads>(stage.hidden, rows_of(task.hidden, first_row, task.rows));
        load_tile<threads>(stage.head, rows_of(task.head, column, task.vocab));
        k += tile_depth<T>;
        if (k >= task.depth) k = 0, column += tile_columns<T>;
    }
    __device__ __forceinline__ GlobalRows<const T> rows_of(const T* matrix, int first, int rows) const {
        return {matrix + int64_t{first} * task.depth + k, task.depth, rows - first, task.depth - k, task.aligned};
    }
};

template <class T>
__global__ void __launch_bounds__(threads, 1) loss_eval_mma_kernel(LossEvalTask<T> task) {
    constexpr int columns = tile_columns<T>;
    constexpr int warp_rows = tile_rows / warps_down, warp_columns = columns / warps_across;
    constexpr int m_tiles = warp_rows / 16, n_tiles = warp_columns / 8;
    Storage<T>& shared = shared_storage<Storage<T>>();
    const int split = static_cast<int>(blockIdx.x), first_row = static_cast<int>(blockIdx.y) * tile_rows;
    const TileRange tiles = tiles_of_split((task.vocab + columns - 1) / columns, split, task.splits);
    const int steps_of_tile = (task.depth + tile_depth<T> - 1) / tile_depth<T>;
    const int steps = (tiles.end - tiles.begin) * steps_of_tile;

    // This thread's logits: element i of (m, n) is row `row` + 16m + 8(i / 2), column `column` + 8n + i % 2 of the
    // tile.
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int warp_row = warp / warps_across * warp_rows, warp_column = warp % warps_across * warp_columns;
    const int row = warp_row + lane / 4, column = warp_column + lane % 4 * 2;
    RowSum sums[m_tiles][2];
    int labels[m_tiles][2];
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int i = first_row + row + 16 * m + 8 * half;
            sums[m][half] = empty_row_sum;
            labels[m][half] = i < task.rows ? task.labels[i] : -1;
        }

    Loader<T> loader{task, first_row, tiles.begin * columns, 0};
    const auto fill = [&](int step) {
        if (step < steps) loader.fill(shared.stage[step % stages]);
        commit_copies();  // an empty group, too: the wait counts groups
    };
    for (int step = 0; step < stages - 1; ++step) fill(step);

    int step = 0;
    for (int tile = tiles.begin; tile < tiles.end; ++tile) {
        Accumulator logits[m_tiles][n_tiles];
        clear(logits);
        for (int k = 0; k < steps_of_tile; ++k, ++step) {
            wait_for_copies<stages - 2>();
            __syncthreads();  // this step's stage is here, and no warp still reads the one that is filled now
            fill(step + stages - 1);
            const Stage<T>& stage = shared.stage[step % stages];
            multiply<false, true, tile_depth<T>>(logits, stage.hidden, warp_row, stage.head, warp_column);
        }

        const int tile_column = tile * columns + column;
#pragma unroll
        for (int m = 0; m < m_tiles; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float z[2 * n_tiles];
#pragma unroll
                for (int i = 0; i < 2 * n_tiles; ++i) z[i] = logits[m][i / 2].x[2 * half + i % 2];
                float* const target = task.targets + first_row + row + 16 * m + 8 * half;
                sums[m][half] = add_columns(sums[m][half], z, tile_column, task.vocab, labels[m][half], target);
            }
    }

    // Four lanes of a warp, then four warps hold parts of a row.
    wait_for_copies<0>();
    __syncthreads();  // the stages' memory is free
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const RowSum sum = merge_quad(sums[m][half]);
            if (lane % 4 == 0) shared.sums[warp % warps_across][row + 16 * m + 8 * half] = sum;
        }
    __syncthreads();
    const int i = static_cast<int>(threadIdx.x);
    if (i < tile_rows && first_row + i < task.rows) {
        RowSum sum = shared.sums[0][i];
        for (int w = 1; w < warps_across; ++w) sum = merge(sum, shared.sums[w][i]);
        task.sums[int64_t{first_row + i} * task.splits + split] = sum;
    }
}

// ---- the last step ------------------------------------------------------------------------------------------------

// Double, since the maximum may be large beside the loss; N of them cost nothing.
template <class T>
__global__ void combine_splits_kernel(float* losses, uint8_t* greedy, LossEvalTask<T> task) {
    const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (row >= task.rows) return;
    float loss = 0;
    bool most_likely = false;
    if (task.labels[row] >= 0) {
        const RowSum* const sums = task.sums + int64_t{row} * task.splits;
        float max = sums[0].max;
        for (int s = 1; s < task.splits; ++s) max = fmaxf(max, sums[s].max);
        double sum = 0;
        for (int s = 0; s < task.splits; ++s)
            sum += static_cast<double>(sums[s].sum) * exp2(static_cast<double>(sums[s].max - max));
        // Divided by the same rounded log2(e) that the logits were multiplied by: a lone large logit comes back
        // exactly.
        const double log_sum = (static_cast<double>(max) + log2(sum)) / static_cast<double>(log2_e);
        loss = static_cast<float>(log_sum - static_cast<double>(task.targets[row]));
        most_likely = task.targets[row] * log2_e >= max;  // the same product as in add_columns
    }
    losses[row] = loss;
    if (greedy) greedy[row] = most_likely;
}

// ---- launchers ----------------------------------------------------------------------------------------------------

// Rows of one pass: the scratch memory then suffices for every number of splits.
constexpr int64_t most_rows = int64_t{1} << 17;
static_assert(most_rows * (max_splits * int64_t{sizeof(RowSum)} + int64_t{sizeof(float)}) <= scratch_bytes);

template <class T>
void loss_eval_in_registers(Stream& stream, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels,
                            LossEvalVersion version) {
    const int64_t rows = labels.numel(), depth = hidden.last(), vocab = head.rows();
    const int vocab_tiles = static_cast<int>(ceil_div(vocab, tile_columns<T>));
    for (int64_t first = 0; first < rows; first += most_rows) {
        const int64_t pass = std::min(most_rows, rows - first);
        const int row_tiles = static_cast<int>(ceil_div(pass, tile_rows));
        LossEvalTask<T> task{};
        task.hidden = data<T>(hidden) + first * depth;
        task.head = data<T>(head);
        task.labels = labels.i32() + first;
        task.rows = static_cast<int>(pass);
        task.depth = static_cast<int>(depth);
        task.vocab = static_cast<int>(vocab);
        task.splits = choose_splits(row_tiles, vocab_tiles, tile_rows, tile_columns<T>, stream.cuda->multiprocessors);
        task.aligned = whole_packs<T>(depth, task.hidden, task.head);
        task.sums = static_cast<RowSum*>(
            scratch(stream, pass * (task.splits * int64_t{sizeof(RowSum)} + int64_t{sizeof(float)})));
        task.targets = reinterpret_cast<float*>(task.sums + pass * task.splits);

        bool done = false;
        if constexpr (sizeof(T) == 2)
            if (version != LossEvalVersion::mma_sync)
                done = loss_eval_wgmma(stream, task, version == LossEvalVersion::wgmma_clusters);
        if (!done)
            launch(stream, "loss_eval", grid_of(task.splits, row_tiles), dim3(threads), sizeof(Storage<T>),
                   loss_eval_mma_kernel<T>, task);
        launch(stream, "loss_eval", grid_of(ceil_div(pass, 128)), dim3(128), 0, combine_splits_kernel<T>,
               losses.f32() + first, greedy ? greedy.u8() + first : nullptr, task);
    }
}

// As many rows at a time as the stream's scratch memory holds logits of.
void loss_eval_by_logits(Stream& stream, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels) {
    const int64_t rows = labels.numel(), depth = hidden.last(), vocab = head.rows();
    const int64_t row_bytes = vocab * bytes_of(hidden.dtype), most = std::min(rows, scratch_bytes / row_bytes);
    void* const memory = scratch(stream, std::max<int64_t>(most, 1) * row_bytes);
    for (int64_t first = 0; first < rows; first += most) {
        const int64_t pass = std::min(most, rows - first);
        const Tensor logits(memory, hidden.dtype, {pass, vocab});
        matmul(stream, logits, hidden.view(first * depth, {pass, depth}), false, head, true, false);
        cross_entropy_and_greedy(stream, losses.view(first, {pass}), greedy ? greedy.view(first, {pass}) : Tensor{},
                                 logits, labels.view(first, {pass}));
    }
}

}  // namespace

void loss_eval(Stream& stream, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels,
               LossEvalVersion version) {
    const int64_t rows = labels.numel(), depth = hidden.last(), vocab = head.rows();
    constexpr int64_t most = std::numeric_limits<int>::max() - 1024;  // a tile beyond the last is counted in int
    require_type("loss_eval", hidden.dtype, {hidden, head});
    require_type("loss_eval", DType::f32, {losses});
    require_type("loss_eval", DType::u8, {greedy});
    require_type("loss_eval", DType::i32, {labels});
    require("loss_eval", hidden.rows() == rows && losses.numel() == rows && (!greedy || greedy.numel() == rows) &&
                head.last() == depth,
            "hidden (N, C), head (V, C), N losses, labels and greedy");
    require("loss_eval", depth >= 1 && vocab >= 1 && depth <= most && vocab <= most,
            "1 to 2^31 - 1024 columns and logits");
    if (rows == 0) return;
    if (version == LossEvalVersion::logits) return loss_eval_by_logits(stream, losses, greedy, hidden, head, labels);
    with_compute_type("loss_eval", hidden.dtype, [&]<class T>() {
        loss_eval_in_registers<T>(stream, losses, greedy, hidden, head, labels, version);
    });
}

void loss_eval(Stream& stream, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels, Tensor) {
    loss_eval(stream, losses, greedy, hidden, head, labels, default_loss_eval_version);
}

}  // namespace templar::cuda
