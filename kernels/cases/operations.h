// The operations of kernels/ops.h by name, in their order.
#pragma once

// X(slot) for each operation; tests/kernels/catalogue_test.cpp fails when ops.h has one that this list has not.
#define TEMPLAR_OPERATIONS(X) \
    X(embedding_forward)      \
    X(embedding_backward)     \
    X(rmsnorm_forward)        \
    X(add_rmsnorm_forward)    \
    X(rmsnorm_backward)       \
    X(rope_table)             \
    X(rope_forward)           \
    X(rope_backward)          \
    X(attention_forward)      \
    X(attention_backward)     \
    X(attention_decode)       \
    X(swiglu_forward)         \
    X(swiglu_backward)        \
    X(matmul)                 \
    X(cross_entropy_forward)  \
    X(cross_entropy_fused)    \
    X(loss_eval)              \
    X(adamw)                  \
    X(sgd)                    \
    X(round_weights)          \
    X(sum_of_squares)         \
    X(dct_encode)             \
    X(dct_decode)             \
    X(demo_compress)          \
    X(merge_apply)            \
    X(apply_candidate)        \
    X(screen)                 \
    X(state_tree)
