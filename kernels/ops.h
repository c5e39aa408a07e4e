// The catalogue: every operation of the engine, as a table of function pointers. One table per device (and, on the CPU,
// per instruction set); a test walks the table and fails on an empty slot.
//
// Conventions. Tensors are fp32 unless said otherwise. B batch, T sequence, N = B·T, C hidden, V vocabulary, F intermediate,
// H query heads, G key/value heads, D head size. Gradients of parameters accumulate (+=), gradients of activations are
// overwritten. Nothing allocates. Results do not depend on the stream's number of threads.
// Operations marked *exact* give the same bits on every CPU and GPU (docs/protocol.md §6).
#pragma once

#include "kernels/sparse.h"
#include "kernels/stream.h"
#include "kernels/tensor.h"

#include <span>

namespace templar {

struct AdamWStep {
    float lr, beta1, beta2, eps, weight_decay;
    float bias1, bias2;  // 1 - beta1^t, 1 - beta2^t
    float grad_scale;    // clip factor (and 1/tokens), applied to the gradient first
};

// One DeMo step: E <- beta·E + eta·DCT(g), the k largest coded, E <- E - decoded.
struct DemoStep {
    float beta;
    float eta;  // learning rate times any factor the gradient still needs (e.g. 1/tokens)
};

struct Ops {
    const char* name;  // e.g. "cpu/avx512"

    // ---- embedding --------------------------------------------------------------------------------------------------
    // out (N, C) = table (V, C) at ids (N) i32
    void (*embedding_forward)(Stream&, Tensor out, Tensor table, Tensor ids);
    // dtable (V, C) += dout (N, C) at ids (N)
    void (*embedding_backward)(Stream&, Tensor dtable, Tensor dout, Tensor ids);

    // ---- RMSNorm: y = x·w·rstd, rstd = 1/sqrt(mean(x²) + eps) ----------------------------------------------------------
    // y (N, C), rstd (N), x (N, C), weight (C)
    void (*rmsnorm_forward)(Stream&, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps);
    // sum (N, C) = a (N, C) + b (N, C); y, rstd = rmsnorm(sum)
    void (*add_rmsnorm_forward)(Stream&, Tensor sum, Tensor y, Tensor rstd, Tensor a, Tensor b, Tensor weight, float eps);
    // dx (N, C) = gradient through the norm + dresidual (N, C) (absent: 0); dweight (C) +=. dx may be dresidual itself.
    void (*rmsnorm_backward)(Stream&, Tensor dx, Tensor dweight, Tensor dy, Tensor dresidual, Tensor x, Tensor weight, Tensor rstd);

    // ---- rotary embedding, half-split pairing (j with j + D/2), in place ------------------------------------------------
    // table (P, D/2, 2) cos, sin of position·theta^(-2j/D)
    void (*rope_table)(Stream&, Tensor table, float theta);
    // The first `rotated` heads of x (B, T, heads, D) are rotated; positions (B·T) i32, absent: 0..T-1 in each row.
    void (*rope_forward)(Stream&, Tensor x, Tensor table, Tensor positions, int64_t rotated);
    void (*rope_backward)(Stream&, Tensor dx, Tensor table, Tensor positions, int64_t rotated);

    // ---- causal attention with grouped queries, online softmax ------------------------------------------------------------
    // qkv (B, T, H + 2G, D): H query heads, then G key heads, then G value heads, H = out's heads.
    // out (B, T, H, D), lse (B, H, T) natural log-sum-exp of the scaled scores
    void (*attention_forward)(Stream&, Tensor out, Tensor lse, Tensor qkv);
    // dqkv (B, T, H + 2G, D) = gradient; delta (B, H, T) scratch
    void (*attention_backward)(Stream&, Tensor dqkv, Tensor delta, Tensor dout, Tensor out, Tensor lse, Tensor qkv);

    // ---- SwiGLU ---------------------------------------------------------------------------------------------------------
    // act (N, F) = silu(gate)·up, gate_up (N, 2F): gate in the first F columns
    void (*swiglu_forward)(Stream&, Tensor act, Tensor gate_up);
    // dgate_up (N, 2F) may be gate_up itself
    void (*swiglu_backward)(Stream&, Tensor dgate_up, Tensor dact, Tensor gate_up);

    // ---- matrix product -----------------------------------------------------------------------------------------------------
    // c (M, N) = op(a)·op(b) + (accumulate ? c : 0); op(a) (M, K) is a or aᵀ, op(b) (K, N) is b or bᵀ
    void (*matmul)(Stream&, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate);

    // ---- softmax cross-entropy, labels (N) i32, ignored where < 0 -----------------------------------------------------------
    // losses (N), 0 where ignored
    void (*cross_entropy_forward)(Stream&, Tensor losses, Tensor logits, Tensor labels);
    // losses (N) and, over logits (N, V) in place, scale·(softmax - onehot); 0 where ignored
    void (*cross_entropy_fused)(Stream&, Tensor losses, Tensor logits, Tensor labels, float scale);

    // ---- optimiser -----------------------------------------------------------------------------------------------------------
    // params, m, v, grads: same length. p <- p·(1 - lr·wd) - lr·m̂/(sqrt(v̂) + eps)
    void (*adamw)(Stream&, Tensor params, Tensor m, Tensor v, Tensor grads, AdamWStep step);
    // sum of squares, in double, in an order that does not depend on the threads
    double (*sum_of_squares)(Stream&, Tensor x);

    // ---- compression (docs/protocol.md §5) -----------------------------------------------------------------------------------
    // coef (chunks, size) = orthonormal 2-D DCT-II of each chunk of x (rows, cols)
    void (*dct_encode)(Stream&, Tensor coef, Tensor x, ChunkGrid grid);
    // its inverse
    void (*dct_decode)(Stream&, Tensor x, Tensor coef, ChunkGrid grid);
    // E (chunks, size) in and out, grad (rows, cols); writes every byte of `out`'s four sections. Ties: lower index.
    void (*demo_compress)(Stream&, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid, DemoStep step);

    // ---- global update (docs/protocol.md §6) -----------------------------------------------------------------------------------
    // *exact* N² of one peer's tensor: the squared L2 norm of the decoded values in units of (2^X/2)²
    double (*sparse_square_sum)(Stream&, SparseIn peer, ChunkGrid grid);
    // *exact* theta (rows, cols) <- theta·keep - eta·sign(inverse DCT of the peers' mean); inverse_norms[p] = 1/sqrt(N²), 0: sends nothing
    void (*merge_apply)(Stream&, Tensor theta, ChunkGrid grid, std::span<const SparseIn> peers,
                        std::span<const double> inverse_norms, float keep, float eta);
    // *exact* out (rows, cols) = theta - step·sign(inverse DCT of one peer's values)
    void (*apply_candidate)(Stream&, Tensor out, Tensor theta, ChunkGrid grid, SparseIn peer, float step);
    // <grad, sign(inverse DCT of one peer's values)>, in double
    double (*screen)(Stream&, Tensor grad, ChunkGrid grid, SparseIn peer);
};

// The fastest table this processor can run ("cpu/avx512", "cpu/avx2", "cpu/x86-64" or "cpu/portable").
// `isa` other than "auto" asks for one of them; throws Error(usage) when it is unknown or cannot run here.
const Ops& cpu_ops(const char* isa = "auto");

}  // namespace templar
