// The online softmax of a tile of scores, kept transposed: (key, query), the lanes of a vector are queries.
#pragma once

#include "kernels/cpu/isa/simd.h"

namespace templar::TEMPLAR_ISA {

constexpr int64_t block = 64;  // queries, and keys, of a block
constexpr float minus_infinity = -__builtin_inff();

inline int64_t min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// The running softmax of one block of queries.
struct Running {
    float max[block];
    float sum[block];
};

inline Running nothing_seen() {
    Running running;
    for (int64_t i = 0; i < block; ++i) {
        running.max[i] = minus_infinity;
        running.sum[i] = 0.0f;
    }
    return running;
}

// scores (keys, block) -> probabilities relative to the new maxima; `out` (size, block) is rescaled to them. Of a block
// only the first `queries`, a multiple of `lanes`.
inline void online_softmax(Running& running, float* scores, int64_t keys, float* out, int64_t size, int64_t queries) {
    for (int64_t i = 0; i < queries; i += lanes) {
        const FloatVector old = load(running.max + i);
        FloatVector max = old;
        for (int64_t j = 0; j < keys; ++j) max = larger(load(scores + j * block + i), max);
        FloatVector sum{};
        for (int64_t j = 0; j < keys; ++j) {
            const FloatVector e = fast_exp(load(scores + j * block + i) - max);
            store(scores + j * block + i, e);
            sum += e;
        }
        const FloatVector shrink = fast_exp(old - max);
        store(running.max + i, max);
        store(running.sum + i, load(running.sum + i) * shrink + sum);
        for (int64_t d = 0; d < size; ++d) store(out + d * block + i, load(out + d * block + i) * shrink);
    }
}

}  // namespace templar::TEMPLAR_ISA
