// c (1, n) = a (1, k) · bᵀ, b (n, k): a linear layer of one token. Every weight is used once, so the product costs
// reading b; it is read in order, and every element is one dot product, whatever the number of threads.
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/isa/simd.h"

namespace templar::TEMPLAR_ISA {

namespace {

constexpr int64_t at_once = 4;  // vectors of a row: their additions do not wait for each other

float sum_of(FloatVector v) {
    float sum = 0;
    for (int64_t i = 0; i < lanes; ++i) sum += v[i];
    return sum;
}

float dot(const float* x, const float* y, int64_t count) {
    FloatVector sums[at_once] = {};
    int64_t i = 0;
    for (; i + at_once * lanes <= count; i += at_once * lanes)
#pragma GCC unroll 4
        for (int64_t j = 0; j < at_once; ++j) sums[j] += load(x + i + j * lanes) * load(y + i + j * lanes);
    for (; i + lanes <= count; i += lanes) sums[0] += load(x + i) * load(y + i);
    float rest = 0;
    for (; i < count; ++i) rest += x[i] * y[i];
    return sum_of((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

}  // namespace

void matmul_row(Stream& stream, const Product& p) {
    constexpr int64_t part = 64;  // columns of c that one thread takes
    const int64_t parts = (p.n + part - 1) / part;
#pragma omp parallel for schedule(static) num_threads(stream.threads)
    for (int64_t i = 0; i < parts; ++i)
        for (int64_t j = i * part; j < p.n && j < (i + 1) * part; ++j)
            p.c[j] = (p.accumulate ? p.c[j] : 0.0f) + dot(p.a, p.b + j * p.b_col, p.k);
}

}  // namespace templar::TEMPLAR_ISA
