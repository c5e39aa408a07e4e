// c (1, n) = a (1, k) · bᵀ, b (n, k): a linear layer of one token. Every weight is used once, so the product costs
// reading b; it is read in order, and every element is one dot product, whatever the number of threads.
#include "kernels/cpu/isa/dot.h"
#include "kernels/cpu/isa/model_ops.h"

namespace templar::TEMPLAR_ISA {

void matmul_row(Stream& stream, const Product& p) {
    constexpr int64_t part = 64;  // columns of c that one thread takes
    const int64_t parts = (p.n + part - 1) / part;
#pragma omp parallel for schedule(static) num_threads(stream.threads)
    for (int64_t i = 0; i < parts; ++i)
        for (int64_t j = i * part; j < p.n && j < (i + 1) * part; ++j)
            p.c[j] = (p.accumulate ? p.c[j] : 0.0f) + dot(p.a, p.b + j * p.b_col, p.k);
}

}  // namespace templar::TEMPLAR_ISA
