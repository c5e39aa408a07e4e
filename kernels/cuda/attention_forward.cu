// Causal attention with grouped queries, forward:
//
//     out_t = Σ_{s <= t} softmax_s(q_t·k_s / sqrt(D))·v_s,  lse_t = ln Σ_{s <= t} exp(q_t·k_s / sqrt(D))
//
//     qkv (B, T, H + 2G, D) -> out (B, T, H, D), lse (B, H, T) fp32
//
// FlashAttention-2 (Dao, 2023) on mma.sync. A block has a tile of queries of one head and walks over the tiles of keys
// up to the diagonal with the online softmax, in fp32; no T × T matrix exists, and no sum depends on other blocks.
// Probabilities are rounded to the type of the values before they multiply them, as on every tensor core.
//
// While a tile of keys is multiplied the tile of values arrives, and while that is multiplied the next one of keys.
//
// Bound by the tensor cores: 2·B·H·T²·D FLOPs (causal); tiles on the diagonal add (tile / T) to it. On Hopper mma.sync
// reaches about 60 % of what wgmma does. At head size 256 a warp with its 16 rows also reads 288 bytes of shared memory
// for each mma, of which an SM delivers 128 a clock: that allows about 70 % of mma.sync's own rate.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_path.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace templar::cuda {

namespace {

template <class T, int head>
struct Storage {
    static constexpr ForwardTiles tiles = forward_tiles<T, head>;
    SharedTile<T, tiles.queries, head> q;  // in the end, out
    SharedTile<T, tiles.keys, head> k, v;
};

// The softmax of a warp's rows over the keys so far. max is that of the scores, unscaled; sum is this lane's part.
template <int m_tiles>
struct RunningSoftmax {
    float max[m_tiles][2], sum[m_tiles][2];
};

// scores -> probabilities relative to the new maxima, to which the sums and `out` are rescaled.
// scale2: log2(e)/sqrt(D), so that exp(score/sqrt(D)) is one multiply-add and one exp2.
template <int m_tiles, int key_tiles, int head_tiles>
__device__ __forceinline__ void online_softmax(RunningSoftmax<m_tiles>& running,
                                               Accumulator (&scores)[m_tiles][key_tiles],
                                               Accumulator (&out)[m_tiles][head_tiles], float scale2) {
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float max = running.max[m][half];
#pragma unroll
            for (int n = 0; n < key_tiles; ++n)
                max = fmaxf(max, fmaxf(scores[m][n].x[2 * half], scores[m][n].x[2 * half + 1]));
            max = quad_max(max);  // finite: the first tile holds key 0, which every query sees
            const float shrink = exp2_approx((running.max[m][half] - max) * scale2), shift = -max * scale2;
            float sum = running.sum[m][half] * shrink;
#pragma unroll
            for (int n = 0; n < key_tiles; ++n)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    scores[m][n].x[i] = exp2_approx(fmaf(scores[m][n].x[i], scale2, shift));
                    sum += scores[m][n].x[i];
                }
            running.max[m][half] = max;
            running.sum[m][half] = sum;
#pragma unroll
            for (int n = 0; n < head_tiles; ++n) {
                out[m][n].x[2 * half] *= shrink;
                out[m][n].x[2 * half + 1] *= shrink;
            }
        }
}

// Block (tile of queries, head, sequence); tiles with the most keys first.
template <class T, int head>
__global__ void __launch_bounds__(forward_tiles<T, head>.threads(), 1)
    forward_kernel(T* out, float* lse, const T* qkv, AttentionShape shape) {
    constexpr ForwardTiles tiles = forward_tiles<T, head>;
    constexpr int threads = tiles.threads(), warp_rows = tiles.queries / tiles.warps;
    constexpr int m_tiles = warp_rows / 16, key_tiles = tiles.keys / 8;
    auto& shared = shared_storage<Storage<T, head>>();
    const int b = blockIdx.z, h = blockIdx.y, group = shape.group_of(h);
    const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * tiles.queries;
    const int last = min(first + tiles.queries, shape.seq) - 1;
    const int row = static_cast<int>(threadIdx.x / 32) * warp_rows;  // of the warp in the tile
    const int warp_first = first + row, warp_last = warp_first + warp_rows - 1;
    const float scale2 = shape.scale * log2_e;

    const auto load_keys = [&](int key) {
        load_tile<threads>(shared.k, shape.qkv_rows(qkv, b, shape.key(group), key, tiles.keys));
        commit_copies();
    };
    load_tile<threads>(shared.q, shape.qkv_rows(qkv, b, shape.query(h), first, tiles.queries));
    load_keys(0);

    Accumulator sums[m_tiles][head / 8];
    clear(sums);
    RunningSoftmax<m_tiles> running;
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            running.max[m][half] = -INFINITY;
            running.sum[m][half] = 0.0f;
        }

    for (int key = 0; key <= last; key += tiles.keys) {
        wait_for_copies<0>();
        __syncthreads();  // the keys are there, and nobody reads the last values any more
        load_tile<threads>(shared.v, shape.qkv_rows(qkv, b, shape.value(group), key, tiles.keys));
        commit_copies();
        Accumulator scores[m_tiles][key_tiles];
        clear(scores);
        const bool sees_keys = key <= warp_last;
        if (sees_keys) multiply<false, true, head, tiles.unroll>(scores, shared.q, row, shared.k, 0);
        wait_for_copies<0>();
        __syncthreads();  // the values are there, and nobody reads these keys any more
        if (key + tiles.keys <= last) load_keys(key + tiles.keys);
        if (sees_keys) {
            mask_future(scores, warp_first, key);
            online_softmax(running, scores, sums, scale2);
            FragmentA<T> probabilities[m_tiles][key_tiles / 2];
#pragma unroll
            for (int m = 0; m < m_tiles; ++m)
#pragma unroll
                for (int n = 0; n < key_tiles; n += 2)
                    probabilities[m][n / 2] = as_operand(scores[m][n], scores[m][n + 1], T());
            multiply<false>(sums, probabilities, shared.v, 0);
        }
    }

#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float sum = quad_sum(running.sum[m][half]), inverse = 1.0f / sum;
            const int query = warp_first + part_row(m, half);
            if (threadIdx.x % 4 == 0 && query < shape.seq)
                lse[shape.row_statistics(b, h) + query] = running.max[m][half] * shape.scale + logf(sum);
#pragma unroll
            for (int n = 0; n < head / 8; ++n) {
                sums[m][n].x[2 * half] *= inverse;
                sums[m][n].x[2 * half + 1] *= inverse;
            }
        }
    __syncwarp();  // a warp's queries are read by itself alone
    store_part(shared.q, row, 0, sums);
    __syncthreads();
    store_tile<threads>(shape.out_rows(out, b, h, first, tiles.queries), shared.q);
}

}  // namespace

void attention_forward(Stream& stream, Tensor out, Tensor lse, Tensor qkv) {
    constexpr const char* name = "attention_forward";
    const AttentionShape shape = attention_shape(name, out, qkv);
    require_type(name, DType::f32, {lse});
    if (out.numel() == 0) return;
    if (AttentionPath* const other = stream.cuda->attention; other && other->forward(stream, out, lse, qkv)) return;
    with_compute_type(name, qkv.dtype, [&]<class T>() {
        with_head_size(name, shape.size, [&]<int head>() {
            constexpr ForwardTiles tiles = forward_tiles<T, head>;
            const dim3 grid(static_cast<unsigned>(ceil_div(shape.seq, tiles.queries)),
                            static_cast<unsigned>(shape.heads), static_cast<unsigned>(shape.batch));
            launch(stream, name, grid, tiles.threads(), sizeof(Storage<T, head>), forward_kernel<T, head>, data<T>(out),
                   lse.f32(), data<const T>(qkv), shape);
        });
    });
}

}  // namespace templar::cuda
