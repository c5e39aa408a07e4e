// The model's operations of one instruction set; their contracts stand in kernels/ops.h.
#pragma once

#include "kernels/cpu/isa/table.h"
#include "kernels/cpu/matmul.h"

namespace templar::TEMPLAR_ISA {

void embedding_forward(Stream&, Tensor out, Tensor table, Tensor ids);
void embedding_backward(Stream&, Tensor dtable, Tensor dout, Tensor ids);

void rmsnorm_forward(Stream&, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps);
void add_rmsnorm_forward(Stream&, Tensor sum, Tensor y, Tensor rstd, Tensor a, Tensor b, Tensor weight,
                         float eps);
void rmsnorm_backward(Stream&, Tensor dx, Tensor dweight, Tensor dy, Tensor dresidual, Tensor x,
                      Tensor weight, Tensor rstd);

void rope_table(Stream&, Tensor table, float theta);
void rope_forward(Stream&, Tensor x, Tensor table, Tensor positions, int64_t rotated);
void rope_backward(Stream&, Tensor dx, Tensor table, Tensor positions, int64_t rotated);

void attention_forward(Stream&, Tensor out, Tensor lse, Tensor qkv);
void attention_backward(Stream&, Tensor dqkv, Tensor delta, Tensor dout, Tensor out, Tensor lse, Tensor qkv);
void attention_decode(Stream&, Tensor out, Tensor keys, Tensor values, Tensor qkv, int64_t past);

void swiglu_forward(Stream&, Tensor act, Tensor gate_up);
void swiglu_backward(Stream&, Tensor dgate_up, Tensor dact, Tensor gate_up);

void matmul(Stream&, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate);
// A product of one row, elements of `a` and columns of `b` contiguous.
void matmul_row(Stream&, const Product&);

void cross_entropy_forward(Stream&, Tensor losses, Tensor logits, Tensor labels);
// And greedy u8 (N), absent: not wanted, as loss_eval has it.
void cross_entropy_and_greedy(Stream&, Tensor losses, Tensor greedy, Tensor logits, Tensor labels);
void cross_entropy_fused(Stream&, Tensor losses, Tensor logits, Tensor labels, float scale);

void loss_eval(Stream&, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels, Tensor scratch);

void adamw(Stream&, Tensor params, Tensor weights, Tensor m, Tensor v, Tensor grads, AdamWStep step);
void sgd(Stream&, Tensor params, Tensor weights, Tensor momentum, Tensor grads, SgdStep step);
void round_weights(Stream&, Tensor weights, Tensor params);
double sum_of_squares(Stream&, Tensor x);

}  // namespace templar::TEMPLAR_ISA
