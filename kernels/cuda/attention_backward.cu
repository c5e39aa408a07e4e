// Causal attention with grouped queries, backward. With P = softmax(S), S = Q·Kᵀ/sqrt(D), δ_t = <dout_t, out_t>:
//
//     dV = Pᵀ·dO,  dP = dO·Vᵀ,  dS = P∘(dP - δ),  dQ = dS·K/sqrt(D),  dK = dSᵀ·Q/sqrt(D)
//
//     dout, out (B, T, H, D), lse (B, H, T), qkv (B, T, H + 2G, D) -> dqkv (B, T, H + 2G, D), delta (B, H, T) scratch
//
// Three kernels: delta; then dK and dV, a block for each tile of keys, which walks over the queries that see it in all
// heads of its group; then dQ, a block for each tile of queries. P comes back from lse. Sums have a fixed order and a
// single owner: no atomics. The price is that both passes compute S and dP, 7 products for the usual 5; the
// alternatives are sums of dQ in memory, by atomics (the order changes), or in turns (blocks wait for each other).
//
// Bound by the tensor cores: 7·B·H·T²·D FLOPs (causal). mma.sync reaches about 60 % of wgmma on Hopper, so that against
// the usual count of 5 a wgmma kernel is up to 2.3 times as fast; delta reads out and dout once.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_path.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.h"

namespace templar::cuda {

namespace {

// ---- delta ----------------------------------------------------------------------------------------------------------

constexpr int delta_threads = 256;

// Warp by warp the rows (b, t, h) of out and dout, n numbers for each lane at a time.
template <class T, int n>
__global__ void __launch_bounds__(delta_threads)
    delta_kernel(float* delta, const T* dout, const T* out, int64_t rows, AttentionShape shape) {
    const int64_t row = int64_t{blockIdx.x} * (delta_threads / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    float sum = 0.0f;
    for (int d = static_cast<int>(threadIdx.x % 32) * n; d < shape.size; d += 32 * n) {
        const Floats<n> a = load<n>(dout + row * shape.size + d), b = load<n>(out + row * shape.size + d);
#pragma unroll
        for (int i = 0; i < n; ++i) sum += a[i] * b[i];
    }
    sum = warp_sum(sum);
    const int64_t position = row / shape.heads, b = position / shape.seq, t = position % shape.seq;
    if (threadIdx.x % 32 == 0) delta[(b * shape.heads + row % shape.heads) * shape.seq + t] = sum;
}

// ---- what both passes do with a tile of scores ----------------------------------------------------------------------

// The part of a block's result that is this warp's: `rows` × `columns` warps share out m × n elements.
template <int m, int n, int rows, int columns>
struct Part {
    static constexpr int m_tiles = m / rows / 16, n_tiles = n / columns / 8;
    static_assert(m_tiles * rows * 16 == m && n_tiles * columns * 8 == n && n_tiles % 2 == 0);
    int row = static_cast<int>(threadIdx.x / 32) / columns * (m / rows);
    int column = static_cast<int>(threadIdx.x / 32) % columns * (n / columns);
};
template <class T, int head>
using ScorePart = Part<backward_tiles<T, head>.queries, backward_tiles<T, head>.keys,
                       backward_tiles<T, head>.score_rows, backward_tiles<T, head>.score_columns()>;

// lse (in powers of 2) and delta of the rows of a warp's part.
template <int m_tiles>
struct RowStatistics {
    float lse2[m_tiles][2], delta[m_tiles][2];

    // Queries that are not there have probability 2^-inf.
    __device__ __forceinline__ void load(const float* of_lse, const float* of_delta, int first, int seq) {
#pragma unroll
        for (int m = 0; m < m_tiles; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int query = first + part_row(m, half);
                lse2[m][half] = query < seq ? of_lse[query] * log2_e : INFINITY;
                delta[m][half] = query < seq ? of_delta[query] : 0.0f;
            }
    }
};

// scores -> P, products (dP) -> dS without its factor 1/sqrt(D).
template <int m_tiles, int n_tiles>
__device__ __forceinline__ void softmax_gradient(Accumulator (&scores)[m_tiles][n_tiles],
                                                 Accumulator (&products)[m_tiles][n_tiles],
                                                 const RowStatistics<m_tiles>& rows, float scale2) {
#pragma unroll
    for (int m = 0; m < m_tiles; ++m)
#pragma unroll
        for (int n = 0; n < n_tiles; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float p = exp2_approx(fmaf(scores[m][n].x[i], scale2, -rows.lse2[m][i / 2]));
                scores[m][n].x[i] = p;
                products[m][n].x[i] = p * (products[m][n].x[i] - rows.delta[m][i / 2]);
            }
}

// ---- dK and dV ------------------------------------------------------------------------------------------------------

template <class T, int head>
struct KeyStorage {
    static constexpr BackwardTiles tiles = backward_tiles<T, head>;
    SharedTile<T, tiles.keys, head> k, v;  // in the end, dK and dV
    SharedTile<T, tiles.queries, head> q, dout;
    SharedTile<T, tiles.queries, tiles.keys> p, ds;
};

// Block (tile of keys, group, sequence); tiles that most queries see come first.
template <class T, int head>
__global__ void __launch_bounds__(backward_tiles<T, head>.threads(), 1)
    key_kernel(T* dqkv, const T* dout, const T* qkv, const float* lse, const float* delta, AttentionShape shape) {
    constexpr BackwardTiles tiles = backward_tiles<T, head>;
    constexpr int threads = tiles.threads();
    using Scores = ScorePart<T, head>;
    using Gradient = Part<tiles.keys, head, tiles.gradient_rows, tiles.gradient_columns()>;
    auto& shared = shared_storage<KeyStorage<T, head>>();
    const Scores score;
    const Gradient gradient;
    const int b = blockIdx.z, group = blockIdx.y, key = static_cast<int>(blockIdx.x) * tiles.keys;
    const int heads = shape.heads / shape.groups;
    const float scale2 = shape.scale * log2_e;
    // The steps: all tiles of queries from the diagonal on, head after head.
    const int start = key / tiles.queries * tiles.queries;
    const auto load_queries = [&](int head_of_group, int query) {
        load_tile<threads>(shared.q,
                           shape.qkv_rows(qkv, b, shape.query(group * heads + head_of_group), query, tiles.queries));
        commit_copies();
    };
    load_tile<threads>(shared.k, shape.qkv_rows(qkv, b, shape.key(group), key, tiles.keys));
    load_tile<threads>(shared.v, shape.qkv_rows(qkv, b, shape.value(group), key, tiles.keys));
    load_queries(0, start);

    Accumulator dk[Gradient::m_tiles][Gradient::n_tiles], dv[Gradient::m_tiles][Gradient::n_tiles];
    clear(dk);
    clear(dv);
    for (int i = 0, query = start; i < heads;) {
        const int h = group * heads + i;
        RowStatistics<Scores::m_tiles> rows;
        rows.load(lse + shape.row_statistics(b, h), delta + shape.row_statistics(b, h), query + score.row, shape.seq);
        wait_for_copies<0>();
        __syncthreads();  // the queries are there, and nobody reads the last dout, P and dS any more
        load_tile<threads>(shared.dout, shape.out_rows(dout, b, h, query, tiles.queries));
        commit_copies();
        Accumulator scores[Scores::m_tiles][Scores::n_tiles], products[Scores::m_tiles][Scores::n_tiles];
        clear(scores);
        clear(products);
        multiply<false, true, head>(scores, shared.q, score.row, shared.k, score.column);
        mask_future(scores, query + score.row, key + score.column);
        wait_for_copies<0>();
        __syncthreads();  // dout is there
        multiply<false, true, head>(products, shared.dout, score.row, shared.v, score.column);
        softmax_gradient(scores, products, rows, scale2);
        store_part(shared.p, score.row, score.column, scores);
        store_part(shared.ds, score.row, score.column, products);
        __syncthreads();  // P and dS are there
        multiply<true, false, tiles.queries>(dk, shared.ds, gradient.row, shared.q, gradient.column);
        __syncthreads();  // nobody reads these queries any more
        query += tiles.queries;
        if (query >= shape.seq) {
            query = start;
            ++i;
        }
        if (i < heads) load_queries(i, query);
        multiply<true, false, tiles.queries>(dv, shared.p, gradient.row, shared.dout, gradient.column);
    }

    __syncthreads();
    store_part(shared.k, gradient.row, gradient.column, dk, shape.scale);
    store_part(shared.v, gradient.row, gradient.column, dv);
    __syncthreads();
    store_tile<threads>(shape.qkv_rows(dqkv, b, shape.key(group), key, tiles.keys), shared.k);
    store_tile<threads>(shape.qkv_rows(dqkv, b, shape.value(group), key, tiles.keys), shared.v);
}

// ---- dQ -------------------------------------------------------------------------------------------------------------

template <class T, int head>
struct QueryStorage {
    static constexpr BackwardTiles tiles = backward_tiles<T, head>;
    SharedTile<T, tiles.queries, head> q, dout;  // q in the end: dQ
    SharedTile<T, tiles.keys, head> k, v;
    SharedTile<T, tiles.queries, tiles.keys> ds;
};

// Block (tile of queries, head, sequence); tiles with the most keys first.
template <class T, int head>
__global__ void __launch_bounds__(backward_tiles<T, head>.threads(), 1)
    query_kernel(T* dqkv, const T* dout, const T* qkv, const float* lse, const float* delta, AttentionShape shape) {
    constexpr BackwardTiles tiles = backward_tiles<T, head>;
    constexpr int threads = tiles.threads();
    using Scores = ScorePart<T, head>;
    using Gradient = Part<tiles.queries, head, tiles.gradient_rows, tiles.gradient_columns()>;
    auto& shared = shared_storage<QueryStorage<T, head>>();
    const Scores score;
    const Gradient gradient;
    const int b = blockIdx.z, h = blockIdx.y, group = shape.group_of(h);
    const int query = static_cast<int>(gridDim.x - 1 - blockIdx.x) * tiles.queries;
    const int last = min(query + tiles.queries, shape.seq) - 1;
    const float scale2 = shape.scale * log2_e;
    const auto load_values = [&](int key) {
        load_tile<threads>(shared.v, shape.qkv_rows(qkv, b, shape.value(group), key, tiles.keys));
        commit_copies();
    };
    load_tile<threads>(shared.q, shape.qkv_rows(qkv, b, shape.query(h), query, tiles.queries));
    load_tile<threads>(shared.dout, shape.out_rows(dout, b, h, query, tiles.queries));
    load_values(0);
    RowStatistics<Scores::m_tiles> rows;
    rows.load(lse + shape.row_statistics(b, h), delta + shape.row_statistics(b, h), query + score.row, shape.seq);

    Accumulator dq[Gradient::m_tiles][Gradient::n_tiles];
    clear(dq);
    for (int key = 0; key <= last; key += tiles.keys) {
        wait_for_copies<0>();
        __syncthreads();  // the values are there, and nobody reads the last keys and dS any more
        load_tile<threads>(shared.k, shape.qkv_rows(qkv, b, shape.key(group), key, tiles.keys));
        commit_copies();
        Accumulator scores[Scores::m_tiles][Scores::n_tiles], products[Scores::m_tiles][Scores::n_tiles];
        clear(scores);
        clear(products);
        multiply<false, true, head>(products, shared.dout, score.row, shared.v, score.column);
        wait_for_copies<0>();
        __syncthreads();  // the keys are there, and nobody reads these values any more
        if (key + tiles.keys <= last) load_values(key + tiles.keys);
        multiply<false, true, head>(scores, shared.q, score.row, shared.k, score.column);
        mask_future(scores, query + score.row, key + score.column);
        softmax_gradient(scores, products, rows, scale2);
        store_part(shared.ds, score.row, score.column, products);
        __syncthreads();  // dS is there
        multiply<false, false, tiles.keys>(dq, shared.ds, gradient.row, shared.k, gradient.column);
    }

    __syncthreads();
    store_part(shared.q, gradient.row, gradient.column, dq, shape.scale);
    __syncthreads();
    store_tile<threads>(shape.qkv_rows(dqkv, b, shape.query(h), query, tiles.queries), shared.q);
}

}  // namespace

void attention_backward(Stream& stream, Tensor dqkv, Tensor delta, Tensor dout, Tensor out, Tensor lse, Tensor qkv) {
    constexpr const char* name = "attention_backward";
    const AttentionShape shape = attention_shape(name, out, qkv, dout, dqkv);
    require_type(name, DType::f32, {lse, delta});
    if (out.numel() == 0) return;
    if (AttentionPath* const other = stream.cuda->attention;
        other && other->backward(stream, dqkv, dout, out, lse, qkv))
        return;
    const auto grid = [&](int64_t tile, int heads) {
        return dim3(static_cast<unsigned>(ceil_div(shape.seq, tile)), static_cast<unsigned>(heads),
                    static_cast<unsigned>(shape.batch));
    };
    with_compute_type(name, qkv.dtype, [&]<class T>() {
        with_width<T>(shape.aligned, [&]<int n>() {
            launch(stream, "attention_backward (delta)", grid_of(ceil_div(out.rows(), delta_threads / 32)),
                   delta_threads, 0, delta_kernel<T, n>, delta.f32(), data<const T>(dout), data<const T>(out),
                   out.rows(), shape);
        });
        with_head_size(name, shape.size, [&]<int head>() {
            constexpr BackwardTiles tiles = backward_tiles<T, head>;
            launch(stream, "attention_backward (dK, dV)", grid(tiles.keys, shape.groups), tiles.threads(),
                   sizeof(KeyStorage<T, head>), key_kernel<T, head>, data<T>(dqkv), data<const T>(dout),
                   data<const T>(qkv), lse.f32(), delta.f32(), shape);
            launch(stream, "attention_backward (dQ)", grid(tiles.queries, shape.heads), tiles.threads(),
                   sizeof(QueryStorage<T, head>), query_kernel<T, head>, data<T>(dqkv), data<const T>(dout),
                   data<const T>(qkv), lse.f32(), delta.f32(), shape);
        });
    });
}

}  // namespace templar::cuda
