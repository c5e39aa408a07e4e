#include "kernels/cpu/isa/model_ops.h"

namespace templar::TEMPLAR_ISA {

namespace {

Matmul best_matmul() {
    return dnnl_matmul() ? dnnl_matmul() : matmul;
}

void matmul_or_row(Stream& stream, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate) {
    if (c.rows() != 1) return best_matmul()(stream, c, a, transpose_a, b, transpose_b, accumulate);
    const Product p = make_product(c, a, transpose_a, b, transpose_b, accumulate);
    if (p.a_col == 1 && p.b_row == 1) matmul_row(stream, p);
    else best_matmul()(stream, c, a, transpose_a, b, transpose_b, accumulate);
}

}  // namespace

// As many rows at a time as the scratch holds.
void loss_eval(Stream& stream, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels, Tensor scratch) {
    const int64_t rows = labels.numel(), hidden_size = hidden.last(), vocab = head.shape[0];
    const int64_t chunk = scratch.numel() / vocab;
    for (int64_t begin = 0; begin < rows; begin += chunk) {
        const int64_t count = begin + chunk < rows ? chunk : rows - begin;
        const Tensor logits = scratch.view(0, {count, vocab});
        matmul_or_row(stream, logits, hidden.view(begin * hidden_size, {count, hidden_size}), false, head, true, false);
        cross_entropy_and_greedy(stream, losses.view(begin, {count}), greedy ? greedy.view(begin, {count}) : Tensor{},
                                 logits, labels.view(begin, {count}));
    }
}

void fill_model_ops(Ops& ops) {
    ops.embedding_forward = embedding_forward;
    ops.embedding_backward = embedding_backward;
    ops.rmsnorm_forward = rmsnorm_forward;
    ops.add_rmsnorm_forward = add_rmsnorm_forward;
    ops.rmsnorm_backward = rmsnorm_backward;
    ops.rope_table = rope_table;
    ops.rope_forward = rope_forward;
    ops.rope_backward = rope_backward;
    ops.attention_forward = attention_forward;
    ops.attention_backward = attention_backward;
    ops.attention_decode = attention_decode;
    ops.swiglu_forward = swiglu_forward;
    ops.swiglu_backward = swiglu_backward;
    ops.matmul = matmul_or_row;
    ops.cross_entropy_forward = cross_entropy_forward;
    ops.cross_entropy_fused = cross_entropy_fused;
    ops.loss_eval = loss_eval;
    ops.adamw = adamw;
    ops.sgd = sgd;
    ops.round_weights = round_weights;
    ops.sum_of_squares = sum_of_squares;
}

}  // namespace templar::TEMPLAR_ISA
