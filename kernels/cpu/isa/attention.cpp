// Causal attention with grouped queries: out_t = Σ_{s <= t} softmax_s(q_t·k_s / sqrt(D))·v_s, by blocks of
// queries and keys with the online softmax of Dao et al. (FlashAttention, 2022), so that no T × T matrix is
// ever stored.
//
// Scores are kept transposed, (key, query): the lanes of a vector are queries, and maxima and sums over the
// keys need no reduction across lanes. With P = softmax(S), D_t = <dout_t, out_t>:
//   dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP - D)·scale, dQ = dS·K, dK = dSᵀ·Q.
#include "kernels/cpu/isa/attention_tile.h"
#include "kernels/cpu/isa/gemm_tile.h"
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/scratch.h"

#include <cmath>
#include <cstring>

namespace templar::TEMPLAR_ISA {

namespace {

struct Shape {
    int64_t batch, seq, heads, groups, size;
    int64_t row() const { return (heads + 2 * groups) * size; }  // from one position of qkv to the next
    int64_t padded() const { return (size + lanes - 1) / lanes * lanes; }
    float scale() const { return 1.0f / __builtin_sqrtf(static_cast<float>(size)); }
};

Shape shape_of(Tensor qkv, Tensor out) {
    const int64_t heads = out.shape[2];
    return {qkv.shape[0], qkv.shape[1], heads, (qkv.shape[2] - heads) / 2, qkv.shape[3]};
}

// columns (size, block) = rows (count, size), `stride` apart, transposed and multiplied; 0 beyond count
void pack_columns(float* columns, const float* rows, int64_t stride, int64_t count, int64_t size,
                  float factor) {
    for (int64_t d = 0; d < size; ++d) {
        for (int64_t i = 0; i < count; ++i) columns[d * block + i] = rows[i * stride + d] * factor;
        for (int64_t i = count; i < block; ++i) columns[d * block + i] = 0.0f;
    }
}

// Scores (keys, block) whose key lies after the query become -inf; both are counted from the same position.
void mask_future(float* scores, int64_t keys) {
    for (int64_t j = 1; j < keys; ++j)
        for (int64_t i = 0; i < j; ++i) scores[j * block + i] = minus_infinity;
}

// One head, one block of queries beginning at `first`.
void forward_block(const Shape& s, float* out, float* lse, const float* q, const float* k, const float* v,
                   int64_t first) {
    float* const queries = thread_scratch(2 * s.size * block + block * block);  // (D, block)
    float* const sums = queries + s.size * block;                               // (D, block)
    float* const scores = sums + s.size * block;                                // (key, query)
    const int64_t count = min(block, s.seq - first), row = s.row();
    pack_columns(queries, q + first * row, row, count, s.size, s.scale());
    std::memset(sums, 0, s.size * block * sizeof(float));
    Running running = nothing_seen();
    for (int64_t key = 0; key <= first; key += block) {
        const int64_t keys = min(block, s.seq - key);
        small_gemm(scores, block, {k + key * row, row, 1}, queries, block, keys, block, s.size, false);
        if (key == first) mask_future(scores, keys);
        online_softmax(running, scores, keys, sums, s.size, block);
        small_gemm(sums, block, {v + key * row, 1, row}, scores, block, s.size, block, keys, true);
    }
    for (int64_t i = 0; i < count; ++i) {
        const float inverse = 1.0f / running.sum[i];
        float* const to = out + (first + i) * s.heads * s.size;
        for (int64_t d = 0; d < s.size; ++d) to[d] = sums[d * block + i] * inverse;
        lse[first + i] = running.max[i] + std::log(running.sum[i]);
    }
}

}  // namespace

void attention_forward(Stream& stream, Tensor out, Tensor lse, Tensor qkv) {
    const Shape s = shape_of(qkv, out);
    const int64_t blocks = (s.seq + block - 1) / block;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(stream.threads)
    for (int64_t bh = 0; bh < s.batch * s.heads; ++bh)
        for (int64_t n = 0; n < blocks; ++n) {
            const int64_t b = bh / s.heads, h = bh % s.heads, g = h / (s.heads / s.groups);
            const float* const base = qkv.f32() + b * s.seq * s.row();
            forward_block(s, out.f32() + (b * s.seq * s.heads + h) * s.size, lse.f32() + bh * s.seq,
                          base + h * s.size, base + (s.heads + g) * s.size,
                          base + (s.heads + s.groups + g) * s.size, n * block);
        }
}

namespace {

// Pointers to one head's first row in each tensor of the backward pass.
struct HeadGradient {
    const float *q, *k, *v;   // s.row() apart
    const float *out, *dout;  // heads·size apart
    const float* lse;         // (T)
    float* delta;             // (T)
    float* dq;                // s.row() apart
    float *dk, *dv;           // scratch (T, padded), summed over the heads of a group
};

struct BackwardScratch {
    float *q_columns, *dout_columns, *dq_columns;  // (D, block)
    float *q_rows, *dout_rows;                     // (block, padded)
    float *p, *ds;                                 // (key, query)
};

// to (block, padded) = rows (count, size), `stride` apart, multiplied; 0 beyond
void pack_rows(float* to, const float* rows, int64_t stride, int64_t count, const Shape& s, float factor) {
    std::memset(to, 0, block * s.padded() * sizeof(float));
    for (int64_t i = 0; i < count; ++i)
        for (int64_t d = 0; d < s.size; ++d) to[i * s.padded() + d] = rows[i * stride + d] * factor;
}

// p holds scores, ds holds dP; they become P and dS.
void softmax_gradient(float* p, float* ds, int64_t keys, const float* lse, const float* delta) {
    for (int64_t i = 0; i < block; i += lanes) {
        const FloatVector log_sum = load(lse + i), d = load(delta + i);
        for (int64_t j = 0; j < keys; ++j) {
            const FloatVector probability = fast_exp(load(p + j * block + i) - log_sum);
            store(p + j * block + i, probability);
            store(ds + j * block + i, probability * (load(ds + j * block + i) - d));
        }
    }
}

void backward_block(const Shape& s, const HeadGradient& h, const BackwardScratch& w, int64_t first) {
    const int64_t count = min(block, s.seq - first), row = s.row(), out_row = s.heads * s.size,
                  padded = s.padded();
    // Queries that are not there: lse = +inf gives them probability 0.
    float lse[block], delta[block];
    for (int64_t i = 0; i < block; ++i) {
        lse[i] = i < count ? h.lse[first + i] : -minus_infinity;
        float sum = 0;
        if (i < count) {
            const float* const dout = h.dout + (first + i) * out_row;
            const float* const out = h.out + (first + i) * out_row;
#pragma omp simd reduction(+ : sum)
            for (int64_t d = 0; d < s.size; ++d) sum += dout[d] * out[d];
            h.delta[first + i] = sum;
        }
        delta[i] = sum;
    }
    // With q·scale everywhere, dK = dSᵀ·(q·scale) needs no further factor, and dQ is scaled at the end.
    pack_columns(w.q_columns, h.q + first * row, row, count, s.size, s.scale());
    pack_rows(w.q_rows, h.q + first * row, row, count, s, s.scale());
    pack_columns(w.dout_columns, h.dout + first * out_row, out_row, count, s.size, 1.0f);
    pack_rows(w.dout_rows, h.dout + first * out_row, out_row, count, s, 1.0f);
    for (int64_t key = 0; key <= first; key += block) {
        const int64_t keys = min(block, s.seq - key);
        const float* const k = h.k + key * row;
        small_gemm(w.p, block, {k, row, 1}, w.q_columns, block, keys, block, s.size, false);
        if (key == first) mask_future(w.p, keys);
        small_gemm(w.ds, block, {h.v + key * row, row, 1}, w.dout_columns, block, keys, block, s.size, false);
        softmax_gradient(w.p, w.ds, keys, lse, delta);
        small_gemm(h.dv + key * padded, padded, {w.p, block, 1}, w.dout_rows, padded, keys, padded, block,
                   true);
        small_gemm(h.dk + key * padded, padded, {w.ds, block, 1}, w.q_rows, padded, keys, padded, block,
                   true);
        small_gemm(w.dq_columns, block, {k, 1, row}, w.ds, block, s.size, block, keys, key > 0);
    }
    for (int64_t i = 0; i < count; ++i)
        for (int64_t d = 0; d < s.size; ++d)
            h.dq[(first + i) * row + d] = w.dq_columns[d * block + i] * s.scale();
}

}  // namespace

// Key heads are shared out to the threads; the query heads of one are taken in order, which fixes the order
// of its sums.
void attention_backward(Stream& stream, Tensor dqkv, Tensor delta, Tensor dout, Tensor out, Tensor lse,
                        Tensor qkv) {
    const Shape s = shape_of(qkv, out);
    const int64_t padded = s.padded(), kv = s.seq * padded, per_group = s.heads / s.groups;
#pragma omp parallel for schedule(dynamic) num_threads(stream.threads)
    for (int64_t bg = 0; bg < s.batch * s.groups; ++bg) {
        const int64_t b = bg / s.groups, g = bg % s.groups;
        const int64_t columns = s.size * block, rows = block * padded, square = block * block;
        float* const dk = thread_scratch(2 * kv + 3 * columns + 2 * rows + 2 * square);
        float* const dv = dk + kv;
        float* const rest = dv + kv;
        const BackwardScratch w{.q_columns = rest,
                                .dout_columns = rest + columns,
                                .dq_columns = rest + 2 * columns,
                                .q_rows = rest + 3 * columns,
                                .dout_rows = rest + 3 * columns + rows,
                                .p = rest + 3 * columns + 2 * rows,
                                .ds = rest + 3 * columns + 2 * rows + square};
        std::memset(dk, 0, 2 * kv * sizeof(float));
        const float* const in = qkv.f32() + b * s.seq * s.row();
        float* const gradient = dqkv.f32() + b * s.seq * s.row();
        const int64_t k_at = (s.heads + g) * s.size, v_at = k_at + s.groups * s.size;
        for (int64_t h = g * per_group; h < (g + 1) * per_group; ++h) {
            const int64_t out_at = (b * s.seq * s.heads + h) * s.size, row_at = (b * s.heads + h) * s.seq;
            const HeadGradient head{.q = in + h * s.size, .k = in + k_at, .v = in + v_at,
                                    .out = out.f32() + out_at, .dout = dout.f32() + out_at,
                                    .lse = lse.f32() + row_at, .delta = delta.f32() + row_at,
                                    .dq = gradient + h * s.size, .dk = dk, .dv = dv};
            for (int64_t first = 0; first < s.seq; first += block) backward_block(s, head, w, first);
        }
        for (int64_t t = 0; t < s.seq; ++t) {
            std::memcpy(gradient + t * s.row() + k_at, dk + t * padded, s.size * sizeof(float));
            std::memcpy(gradient + t * s.row() + v_at, dv + t * padded, s.size * sizeof(float));
        }
    }
}

}  // namespace templar::TEMPLAR_ISA
