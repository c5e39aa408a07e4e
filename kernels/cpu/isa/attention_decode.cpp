// Causal attention of the newest tokens over kept keys and values, with the tiles and the online softmax of
// attention.cpp. A block of queries holds several heads of one group and several tokens, so that each key and value is
// read from memory once for all of them: for one token the whole call costs reading what is kept.
#include "kernels/cpu/isa/attention_tile.h"
#include "kernels/cpu/isa/gemm_tile.h"
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/scratch.h"

#include <cstring>

namespace templar::TEMPLAR_ISA {

namespace {

struct Shape {
    int64_t batch, tokens, heads, groups, size, capacity, past;
    int64_t row() const { return (heads + 2 * groups) * size; }  // from one token of qkv to the next
    int64_t per_group() const { return heads / groups; }
    // A group's queries are counted token by token; where one lies among all query heads of the tokens.
    int64_t token(int64_t query) const { return query / per_group(); }
    int64_t head(int64_t group, int64_t query) const { return group * per_group() + query % per_group(); }
};

// Queries [first, first + block) of one group, or as many as there are; k, v: the group's, (P, D).
void decode_block(const Shape& s, float* out, const float* qkv, const float* k, const float* v, int64_t group,
                  int64_t first) {
    const int64_t count = min(block, s.tokens * s.per_group() - first), width = (count + lanes - 1) / lanes * lanes;
    float* const queries = thread_scratch(2 * s.size * block + block * block);  // (D, block)
    float* const sums = queries + s.size * block;                               // (D, block)
    float* const scores = sums + s.size * block;                                // (key, query)
    const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(s.size));
    std::memset(queries, 0, 2 * s.size * block * sizeof(float));
    for (int64_t i = 0; i < count; ++i) {
        const float* const q = qkv + s.token(first + i) * s.row() + s.head(group, first + i) * s.size;
        for (int64_t d = 0; d < s.size; ++d) queries[d * block + i] = q[d] * scale;
    }
    Running running = nothing_seen();
    const int64_t last = s.past + s.token(first + count - 1);  // the last key that any of them sees
    for (int64_t key = 0; key <= last; key += block) {
        const int64_t keys = min(block, last + 1 - key);
        small_gemm(scores, block, {k + key * s.size, s.size, 1}, queries, block, keys, width, s.size, false);
        for (int64_t i = 0; i < count; ++i)
            for (int64_t j = s.past + s.token(first + i) + 1 - key; j < keys; ++j)
                if (j >= 0) scores[j * block + i] = minus_infinity;
        online_softmax(running, scores, keys, sums, s.size, width);
        small_gemm(sums, block, {v + key * s.size, 1, s.size}, scores, block, s.size, width, keys, true);
    }
    for (int64_t i = 0; i < count; ++i) {
        const float inverse = 1.0f / running.sum[i];
        float* const to = out + (s.token(first + i) * s.heads + s.head(group, first + i)) * s.size;
        for (int64_t d = 0; d < s.size; ++d) to[d] = sums[d * block + i] * inverse;
    }
}

}  // namespace

void attention_decode(Stream& stream, Tensor out, Tensor keys, Tensor values, Tensor qkv, int64_t past) {
    const Shape s{.batch = qkv.shape[0],
                  .tokens = qkv.shape[1],
                  .heads = out.shape[2],
                  .groups = keys.shape[1],
                  .size = qkv.shape[3],
                  .capacity = keys.shape[2],
                  .past = past};
    const int64_t blocks = (s.tokens * s.per_group() + block - 1) / block;
    const auto kept = [&](const Tensor& tensor, int64_t bg, int64_t position) {
        return tensor.f32() + (bg * s.capacity + position) * s.size;
    };
    for (int64_t bg = 0; bg < s.batch * s.groups; ++bg)
        for (int64_t t = 0; t < s.tokens; ++t) {
            const int64_t b = bg / s.groups, g = bg % s.groups;
            const float* const row = qkv.f32() + (b * s.tokens + t) * s.row();
            std::memcpy(kept(keys, bg, past + t), row + (s.heads + g) * s.size, s.size * sizeof(float));
            std::memcpy(kept(values, bg, past + t), row + (s.heads + s.groups + g) * s.size, s.size * sizeof(float));
        }
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(stream.threads)
    for (int64_t bg = 0; bg < s.batch * s.groups; ++bg)
        for (int64_t n = 0; n < blocks; ++n) {
            const int64_t b = bg / s.groups;
            decode_block(s, out.f32() + b * s.tokens * s.heads * s.size, qkv.f32() + b * s.tokens * s.row(),
                         kept(keys, bg, 0), kept(values, bg, 0), bg % s.groups, n * block);
        }
}

}  // namespace templar::TEMPLAR_ISA
