// The catalogue: every operation of the engine, as a table of function pointers. One table per device (and, on the CPU,
// per instruction set); a test walks the table and fails on an empty slot.
//
// Conventions. B batch, T sequence, N = B·T, C hidden, V vocabulary, F intermediate, H query heads, G key/value heads,
// D head size. Activations, their gradients and the weights an operation reads have the device's compute type: fp32, or
// bf16 (the CPU tables know fp32 only); one call mixes no two of them. Everything else is fp32 unless said otherwise:
// gradients of weights, statistics (rstd, lse, delta), losses, tables, the optimiser's tensors and theta. Sums are
// taken in fp32 or better. Gradients of parameters accumulate (+=), gradients of activations are overwritten. Nothing
// allocates, every result is the same on every run, and it does not depend on the stream's number of threads.
// On a GPU a call returns when the work is enqueued on the stream, unless it returns a number to the host.
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

struct SgdStep {
    float lr, momentum, weight_decay;
    float grad_scale;  // as in AdamWStep
};

// One DeMo step: E <- beta·E + eta·DCT(g), the k largest coded, E <- E - decoded.
struct DemoStep {
    float beta;
    float eta;  // learning rate times any factor the gradient still needs (e.g. 1/tokens)
};

// Elements of a leaf of the state tree.
inline constexpr int64_t leaf_elements = 16384;

struct Ops {
    const char* name;  // e.g. "cpu/avx512", "cuda"

    // ---- embedding --------------------------------------------------------------------------------------------------
    // out (N, C) = table (V, C) at ids (N) i32; ids are checked by the caller
    void (*embedding_forward)(Stream&, Tensor out, Tensor table, Tensor ids);
    // dtable (V, C) fp32 += dout (N, C) at ids (N), rows of equal ids in ascending order
    void (*embedding_backward)(Stream&, Tensor dtable, Tensor dout, Tensor ids);

    // ---- RMSNorm: y = x·w·rstd, rstd = 1/sqrt(mean(x²) + eps) -------------------------------------------------------
    // y (N, C), rstd (N), x (N, C), weight (C)
    void (*rmsnorm_forward)(Stream&, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps);
    // sum (N, C) = a (N, C) + b (N, C); y, rstd = rmsnorm(sum)
    void (*add_rmsnorm_forward)(Stream&, Tensor sum, Tensor y, Tensor rstd, Tensor a, Tensor b, Tensor weight,
                                float eps);
    // dx (N, C) = gradient through the norm + dresidual (N, C) (absent: 0); dweight (C) +=. dx may be dresidual itself.
    void (*rmsnorm_backward)(Stream&, Tensor dx, Tensor dweight, Tensor dy, Tensor dresidual, Tensor x, Tensor weight,
                             Tensor rstd);

    // ---- rotary embedding, half-split pairing (j with j + D/2), in place --------------------------------------------
    // table (P, D/2, 2) cos, sin of position·theta^(-2j/D)
    void (*rope_table)(Stream&, Tensor table, float theta);
    // The first `rotated` heads of x (B, T, heads, D) are rotated; positions (B·T) i32, absent: 0..T-1 in each row.
    void (*rope_forward)(Stream&, Tensor x, Tensor table, Tensor positions, int64_t rotated);
    void (*rope_backward)(Stream&, Tensor dx, Tensor table, Tensor positions, int64_t rotated);

    // ---- causal attention with grouped queries, online softmax ------------------------------------------------------
    // qkv (B, T, H + 2G, D): H query heads, then G key heads, then G value heads, H = out's heads.
    // out (B, T, H, D), lse (B, H, T) natural log-sum-exp of the scaled scores
    void (*attention_forward)(Stream&, Tensor out, Tensor lse, Tensor qkv);
    // dqkv (B, T, H + 2G, D) = gradient; delta (B, H, T) scratch
    void (*attention_backward)(Stream&, Tensor dqkv, Tensor delta, Tensor dout, Tensor out, Tensor lse, Tensor qkv);
    // The same out for T new tokens whose sequences have `past` earlier ones: keys, values (B, G, P, D), P >= past + T,
    // hold those of the earlier and are given those of the new at past, past + 1, …
    void (*attention_decode)(Stream&, Tensor out, Tensor keys, Tensor values, Tensor qkv, int64_t past);

    // ---- SwiGLU -----------------------------------------------------------------------------------------------------
    // act (N, F) = silu(gate)·up, gate_up (N, 2F): gate in the first F columns
    void (*swiglu_forward)(Stream&, Tensor act, Tensor gate_up);
    // dgate_up (N, 2F) may be gate_up itself
    void (*swiglu_backward)(Stream&, Tensor dgate_up, Tensor dact, Tensor gate_up);

    // ---- matrix product ---------------------------------------------------------------------------------------------
    // c (M, N) = op(a)·op(b) + (accumulate ? c : 0); op(a) (M, K) is a or aᵀ, op(b) (K, N) is b or bᵀ.
    // a and b have one type; c has that type, or is fp32 (the gradient of a weight)
    void (*matmul)(Stream&, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate);

    // ---- softmax cross-entropy, labels (N) i32, ignored where < 0 ---------------------------------------------------
    // losses (N), 0 where ignored
    void (*cross_entropy_forward)(Stream&, Tensor losses, Tensor logits, Tensor labels);
    // losses (N) and, over logits (N, V) in place, scale·(softmax - onehot); 0 where ignored
    void (*cross_entropy_fused)(Stream&, Tensor losses, Tensor logits, Tensor labels, float scale);
    // losses (N) of logits = hidden (N, C) · head (V, C)ᵀ, forward only; the logits are never stored whole. greedy u8
    // (N), absent: not wanted: 1 where no logit is larger than the label's, else and where ignored 0.
    // scratch (rows >= 1, V): where a table that needs logits in memory keeps those of a few rows; CUDA needs none.
    void (*loss_eval)(Stream&, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels, Tensor scratch);

    // ---- optimiser --------------------------------------------------------------------------------------------------
    // params, m, v, grads: same length. p <- p·(1 - lr·wd) - lr·m̂/(sqrt(v̂) + eps). weights: the new params rounded to
    // the compute type, absent when that is fp32
    void (*adamw)(Stream&, Tensor params, Tensor weights, Tensor m, Tensor v, Tensor grads, AdamWStep step);
    // d = grad_scale·grads + weight_decay·params; momentum <- step.momentum·momentum + d; p <- p - lr·momentum. All of one
    // length; momentum absent: p <- p - lr·d; weights as for adamw
    void (*sgd)(Stream&, Tensor params, Tensor weights, Tensor momentum, Tensor grads, SgdStep step);
    // weights <- params rounded to bf16 (to nearest, ties to even)
    void (*round_weights)(Stream&, Tensor weights, Tensor params);
    // sum of squares, in double, in an order that does not depend on the threads
    double (*sum_of_squares)(Stream&, Tensor x);

    // ---- compression (docs/protocol.md §5) --------------------------------------------------------------------------
    // coef (chunks, size) = orthonormal 2-D DCT-II of each chunk of x (rows, cols)
    void (*dct_encode)(Stream&, Tensor coef, Tensor x, ChunkGrid grid);
    // its inverse
    void (*dct_decode)(Stream&, Tensor x, Tensor coef, ChunkGrid grid);
    // E (chunks, size) in and out, grad (rows, cols); writes every byte of `out`'s four sections. Ties: lower index.
    void (*demo_compress)(Stream&, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid, DemoStep step);

    // ---- global update (docs/protocol.md §6) ------------------------------------------------------------------------
    // Payloads lie in the device's memory. Peers have the same grid and format; at most 256 of them.
    // *exact* theta (rows, cols) <- theta·keep - eta·sign(inverse DCT of the peers' mean), each peer divided by its
    // norm in this tensor (a zero norm: it sends nothing). weights: theta rounded to the compute type, absent when that
    // is fp32
    void (*merge_apply)(Stream&, Tensor theta, Tensor weights, ChunkGrid grid, std::span<const SparseIn> peers,
                        float keep, float eta);
    // *exact* out (rows, cols), fp32 or bf16 = theta - step·sign(inverse DCT of one peer's values)
    void (*apply_candidate)(Stream&, Tensor out, Tensor theta, ChunkGrid grid, SparseIn peer, float step);
    // sums[p] += <grad, sign(inverse DCT of peer p's values)>, in double, in one pass over grad
    void (*screen)(Stream&, std::span<double> sums, Tensor grad, ChunkGrid grid, std::span<const SparseIn> peers);
    // *exact* the hash tree's lower levels (docs/protocol.md §6, state root). theta: the flat arena, tensor t being
    // elements [first[t], first[t + 1]). leaves u8 (all leaves, 32): SHA-256(0x00 ‖ u32 t ‖ u32 leaf within t ‖ up to
    // 16,384 values); nodes u8 (tensors, 32): SHA-256(0x01 ‖ the tensor's leaves)
    void (*state_tree)(Stream&, Tensor nodes, Tensor leaves, Tensor theta, std::span<const int64_t> first);
};

// The fastest table this processor can run ("cpu/avx512", "cpu/avx2" or "cpu/portable").
// `isa` other than "auto" asks for one of them; throws Error(usage) when it is unknown or cannot run here.
const Ops& cpu_ops(const char* isa = "auto");

}  // namespace templar
