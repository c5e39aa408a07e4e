// The launchers of the CUDA table, one .cu file each. What they compute is said in kernels/ops.h.
#pragma once

#include "kernels/ops.h"

namespace templar::cuda {

// embedding.cu
void embedding_forward(Stream&, Tensor out, Tensor table, Tensor ids);
void embedding_backward(Stream&, Tensor dtable, Tensor dout, Tensor ids);
// rmsnorm.cu
void rmsnorm_forward(Stream&, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps);
void add_rmsnorm_forward(Stream&, Tensor sum, Tensor y, Tensor rstd, Tensor a, Tensor b, Tensor weight, float eps);
void rmsnorm_backward(Stream&, Tensor dx, Tensor dweight, Tensor dy, Tensor dresidual, Tensor x, Tensor weight,
                      Tensor rstd);
// rope.cu
void rope_table(Stream&, Tensor table, float theta);
void rope_forward(Stream&, Tensor x, Tensor table, Tensor positions, int64_t rotated);
void rope_backward(Stream&, Tensor dx, Tensor table, Tensor positions, int64_t rotated);
// attention_forward.cu, attention_backward.cu
void attention_forward(Stream&, Tensor out, Tensor lse, Tensor qkv);
void attention_backward(Stream&, Tensor dqkv, Tensor delta, Tensor dout, Tensor out, Tensor lse, Tensor qkv);
// attention_decode.cu
void attention_decode(Stream&, Tensor out, Tensor keys, Tensor values, Tensor qkv, int64_t past);
// swiglu.cu
void swiglu_forward(Stream&, Tensor act, Tensor gate_up);
void swiglu_backward(Stream&, Tensor dgate_up, Tensor dact, Tensor gate_up);
// matmul.cu (cuBLASLt); under the emulator tests/simt/matmul.cpp
void matmul(Stream&, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate);
// cross_entropy.cu
void cross_entropy_forward(Stream&, Tensor losses, Tensor logits, Tensor labels);
void cross_entropy_and_greedy(Stream&, Tensor losses, Tensor greedy, Tensor logits, Tensor labels);  // for loss_eval's v0
void cross_entropy_fused(Stream&, Tensor losses, Tensor logits, Tensor labels, float scale);
// loss_eval.cu
void loss_eval(Stream&, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels, Tensor scratch);
// adamw.cu
void adamw(Stream&, Tensor params, Tensor weights, Tensor m, Tensor v, Tensor grads, AdamWStep step);
void round_weights(Stream&, Tensor weights, Tensor params);
// sgd.cu
void sgd(Stream&, Tensor params, Tensor weights, Tensor momentum, Tensor grads, SgdStep step);
// sum_of_squares.cu
double sum_of_squares(Stream&, Tensor x);
// dct.cu
void dct_encode(Stream&, Tensor coef, Tensor x, ChunkGrid grid);
void dct_decode(Stream&, Tensor x, Tensor coef, ChunkGrid grid);
// demo_compress.cu
void demo_compress(Stream&, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid, DemoStep step);
// merge_apply.cu
void merge_apply(Stream&, Tensor theta, Tensor weights, ChunkGrid grid, std::span<const SparseIn> peers, float keep,
                 float eta);
// apply_candidate.cu
void apply_candidate(Stream&, Tensor out, Tensor theta, ChunkGrid grid, SparseIn peer, float step);
// screen.cu
void screen(Stream&, std::span<double> sums, Tensor grad, ChunkGrid grid, std::span<const SparseIn> peers);
// state_tree.cu
void state_tree(Stream&, Tensor nodes, Tensor leaves, Tensor theta, std::span<const int64_t> first);

// table.cu: all of the above.
const Ops& ops();

}  // namespace templar::cuda
