// The product of two rows that lie in memory in order.
#pragma once

#include "kernels/cpu/isa/simd.h"

namespace templar::TEMPLAR_ISA {

inline float sum_of(FloatVector v) {
    typedef float Four __attribute__((vector_size(16)));
    struct Parts {
        Four four[lanes / 4];
    };
    const Parts parts = __builtin_bit_cast(Parts, v);
    Four sum = parts.four[0];
    for (int64_t i = 1; i < lanes / 4; ++i) sum += parts.four[i];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

inline float dot(const float* x, const float* y, int64_t count) {
    constexpr int64_t at_once = 4;  // their additions do not wait for each other
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

}  // namespace templar::TEMPLAR_ISA
