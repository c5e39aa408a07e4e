#include "kernels/cpu/isa/model_ops.h"

#include "kernels/cpu/matmul.h"

namespace templar::TEMPLAR_ISA {

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
    ops.swiglu_forward = swiglu_forward;
    ops.swiglu_backward = swiglu_backward;
    ops.matmul = dnnl_matmul() ? dnnl_matmul() : matmul;
    ops.cross_entropy_forward = cross_entropy_forward;
    ops.cross_entropy_fused = cross_entropy_fused;
    ops.adamw = adamw;
    ops.sum_of_squares = sum_of_squares;
}

}  // namespace templar::TEMPLAR_ISA
