// loss_eval's tiles on Hopper's own instructions (loss_eval.cu has the formula, the split of the work and the last
// step).
//
// NOT YET RUN ON A GPU: written from the PTX documentation, compiled without spills and run under the emulator. So it
// is not the default (loss_eval.h) until gpu-check has compared it with version 1.
//
// mma.sync reaches 62 % of Hopper's peak; wgmma all of it. A block computes 128 x 256 logits with two warpgroups
// ("consumers"), each 64 x 256, 128 registers per thread; 64 of C (48 KB) at a time come through a ring of four
// stages. One thread of a third warpgroup (the "producer") fills them by TMA: it waits until a stage is empty, the
// consumers until it is full.
//
// In clusters two blocks with neighbouring rows load half of a vocabulary tile each, for both, so that a
// multiprocessor takes 32 KB from L2 for 128·256·64 multiply-adds, 32 bytes per clock at peak instead of 48.
//
// Bound: shared memory is read at 80 bytes per clock of 128, and filled at 48. The exponentials, one for C
// multiply-adds, take about 8 % of a tile's time, less where one consumer runs ahead of the other. Estimate: 600
// TFLOP/s and more.
#include "kernels/cuda/loss_eval_wgmma.h"

#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/wgmma.h"

namespace templar::cuda {

namespace {

using bf16 = __nv_bfloat16;

constexpr int columns = tile_columns<bf16>, tile_depth = box_columns, stages = 4;
constexpr int warpgroup = 128, consumers = 2, threads = warpgroup * (consumers + 1);

struct Stage {
    bf16 hidden[tile_rows][tile_depth];
    bf16 head[columns][tile_depth];
};
struct alignas(1024) Storage {
    Stage stage[stages];
    Mbarrier full[stages];   // the stage's bytes have arrived
    Mbarrier empty[stages];  // no consumer of the cluster reads it any more
};
static_assert(sizeof(Stage::hidden) % 1024 == 0 && sizeof(Stage::head) % 2048 == 0);

#if TEMPLAR_HOPPER

// Where producer and consumers are in the ring.
struct Position {
    int stage = 0, parity = 0;

    __device__ __forceinline__ void advance() {
        if (++stage == stages) stage = 0, parity ^= 1;
    }
};

// The stages in the order in which they are used: for each vocabulary tile, all of C.
template <int cluster>
__device__ __forceinline__ void produce(Storage& shared, const TensorMap& hidden, const TensorMap& head, int first_row,
                                        TileRange tiles, int depth) {
    constexpr int share = columns / cluster;  // of a vocabulary tile: what this block loads
    const int block = cluster == 1 ? 0 : block_of_cluster();
    Position at;
    for (int tile = tiles.begin; tile < tiles.end; ++tile)
        for (int k = 0; k < depth; k += tile_depth, at.advance()) {
            Stage& stage = shared.stage[at.stage];
            Mbarrier& full = shared.full[at.stage];
            wait(shared.empty[at.stage], at.parity ^ 1);
            arrive_expecting(full, sizeof(Stage));
            load_box(stage.hidden, hidden, first_row, k, full);
            bf16(*const to)[tile_depth] = stage.head + block * share;
            if constexpr (cluster == 1) load_box(to, head, tile * columns, k, full);
            else load_box(to, head, tile * columns + block * share, k, full, (1 << cluster) - 1);
        }
}

// Rows 64·group … of the block's 128: their sums over this split, and the logits of their labels.
template <int cluster>
__device__ __forceinline__ void consume(Storage& shared, const LossEvalTask<bf16>& task, int first_row, int group,
                                        TileRange tiles) {
    constexpr int warpgroup_rows = tile_rows / consumers;
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) % warpgroup / 32;
    const int row = first_row + group * warpgroup_rows + 16 * warp + lane / 4;  // and row + 8
    const int column = lane % 4 * 2;                                           // of the tile
    RowSum sums[2] = {empty_row_sum, empty_row_sum};
    int labels[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) labels[half] = row + 8 * half < task.rows ? task.labels[row + 8 * half] : -1;

    // One arrival of each warp, at every block that loads into this one.
    const auto release = [&](int stage) {
        if (lane < cluster) arrive(shared.empty[stage], lane);
    };

    Position at;
    float logits[128] = {};
    for (int tile = tiles.begin; tile < tiles.end; ++tile) {
        int previous = -1;  // the stage that the products before this step's read
        for (int k = 0; k < task.depth; k += tile_depth, at.advance()) {
            wait(shared.full[at.stage], at.parity);
            const uint64_t hidden = operand(shared.stage[at.stage].hidden[group * warpgroup_rows]);
            const uint64_t head = operand(shared.stage[at.stage].head);
            order_registers();
#pragma unroll
            for (int i = 0; i < tile_depth / 16; ++i)
                multiply_add(logits, next_columns(hidden, i), next_columns(head, i), k > 0 || i > 0);
            commit_products();
            wait_for_products<1>();
            if (previous >= 0) release(previous);
            previous = at.stage;
        }
        wait_for_products<0>();
        release(previous);
        use_results(logits);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float z[64];
#pragma unroll
            for (int i = 0; i < 64; ++i) z[i] = logits[i / 2 * 4 + 2 * half + i % 2];
            sums[half] = add_columns(sums[half], z, tile * columns + column, task.vocab, labels[half],
                                     task.targets + row + 8 * half);
        }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const RowSum sum = merge_quad(sums[half]);
        if (lane % 4 == 0 && row + 8 * half < task.rows)
            task.sums[int64_t{row + 8 * half} * task.splits + blockIdx.x] = sum;
    }
}

#endif

template <int cluster>
__global__ void TEMPLAR_CLUSTER(1, cluster, 1) __launch_bounds__(threads, 1)
    loss_eval_wgmma_kernel(LossEvalTask<bf16> task, const __grid_constant__ TensorMap hidden,
                           const __grid_constant__ TensorMap head) {
#if TEMPLAR_HOPPER
    Storage& shared = shared_storage<Storage>();
    const int first_row = static_cast<int>(blockIdx.y) * tile_rows;
    const TileRange tiles =
        tiles_of_split((task.vocab + columns - 1) / columns, static_cast<int>(blockIdx.x), task.splits);

    if (threadIdx.x == 0) {
        for (int s = 0; s < stages; ++s) {
            init(shared.full[s], 1);                                       // the producer
            init(shared.empty[s], cluster * consumers * (warpgroup / 32));  // every consuming warp
        }
        barriers_ready();
    }
    cluster_barrier();

    // The block is started with 168 registers per thread, 65536 / 384; the consumers need more, the producer few.
    const int group = static_cast<int>(threadIdx.x) / warpgroup;
    if (group == consumers) {
        shrink_registers<40>();
        if (threadIdx.x % warpgroup == 0) produce<cluster>(shared, hidden, head, first_row, tiles, task.depth);
    } else {
        grow_registers<232>();
        consume<cluster>(shared, task, first_row, group, tiles);
    }
    cluster_barrier();  // no block ends while another one still signals to it
#endif
}

template <int cluster>
void run(Stream& stream, const LossEvalTask<bf16>& task) {
    const int64_t row_tiles = round_up(ceil_div(task.rows, tile_rows), cluster);  // the last may have no rows
    const TensorMap hidden = make_tensor_map(task.hidden, task.rows, task.depth, tile_rows);
    const TensorMap head = make_tensor_map(task.head, task.vocab, task.depth, columns / cluster);
    launch_clusters(cluster, stream, "loss_eval", grid_of(task.splits, row_tiles), dim3(threads), sizeof(Storage),
                    loss_eval_wgmma_kernel<cluster>, task, hidden, head);
}

}  // namespace

bool loss_eval_wgmma(Stream& stream, const LossEvalTask<bf16>& task, bool clusters) {
    if (!task.aligned || !on_hopper()) return false;
    if (clusters && task.rows > tile_rows) run<2>(stream, task);
    else run<1>(stream, task);
    return true;
}

}  // namespace templar::cuda
