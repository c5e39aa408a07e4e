// The matrix product on the CPU: the output is cut into blocks of a size that depends on its shape alone, and
// every block is computed by one thread, so that the bits do not depend on the number of threads. A block is
// computed by oneDNN where it was found at configuration, by our own kernel (isa/matmul_block.cpp) otherwise.
#pragma once

#include "kernels/ops.h"

namespace templar {

// c (m, n) = a (m, k) · b (k, n) + (accumulate ? c : 0). Element (i, p) of a is a[i·a_row + p·a_col]; one of
// the two strides is 1. The same for b. Rows of c are ldc apart.
struct Product {
    int64_t m, n, k;
    const float* a;
    int64_t a_row, a_col;
    const float* b;
    int64_t b_row, b_col;
    float* c;
    int64_t ldc;
    bool accumulate;
};

using BlockKernel = void (*)(const Product&);
using Matmul = decltype(Ops::matmul);

// Computes the blocks of c on the stream's threads, each by one call of `kernel`.
void matmul_in_blocks(Stream& stream, const Product& product, BlockKernel kernel);

// The product as ops.h states it, as a Product.
Product make_product(Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate);

// oneDNN's product; null in a build without oneDNN.
Matmul dnnl_matmul();

// Our own product for an instruction set ("portable", "avx2", "avx512"), whether or not there is oneDNN; null
// when this build does not have it. The caller sees to it that the processor can run it.
Matmul own_matmul(const char* isa);

}  // namespace templar
