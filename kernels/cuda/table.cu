// The CUDA table: every slot of the catalogue.
#include "kernels/cuda/ops.h"

namespace templar::cuda {

const Ops& ops() {
    static const Ops table{
        .name = "cuda",
        .embedding_forward = embedding_forward,
        .embedding_backward = embedding_backward,
        .rmsnorm_forward = rmsnorm_forward,
        .add_rmsnorm_forward = add_rmsnorm_forward,
        .rmsnorm_backward = rmsnorm_backward,
        .rope_table = rope_table,
        .rope_forward = rope_forward,
        .rope_backward = rope_backward,
        .attention_forward = attention_forward,
        .attention_backward = attention_backward,
        .attention_decode = attention_decode,
        .swiglu_forward = swiglu_forward,
        .swiglu_backward = swiglu_backward,
        .matmul = matmul,
        .cross_entropy_forward = cross_entropy_forward,
        .cross_entropy_fused = cross_entropy_fused,
        .loss_eval = loss_eval,
        .adamw = adamw,
        .sgd = sgd,
        .round_weights = round_weights,
        .sum_of_squares = sum_of_squares,
        .dct_encode = dct_encode,
        .dct_decode = dct_decode,
        .demo_compress = demo_compress,
        .merge_apply = merge_apply,
        .apply_candidate = apply_candidate,
        .screen = screen,
        .state_tree = state_tree,
    };
    return table;
}

}  // namespace templar::cuda
