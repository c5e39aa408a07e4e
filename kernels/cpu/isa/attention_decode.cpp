// Causal attention of the newest tokens over kept keys and values. The queries of a group, several heads and several
// tokens, go over its keys together, so that each key and value is read from memory once for all of them: for one token
// the whole call costs reading what is kept.
//
// The keys of few queries are cut into ranges, so that there is work for all threads where groups are few; a range's
// softmax is relative to its own maximum, and the ranges are combined in their order. How the work is cut depends on
// the shape alone, so that the bits do not depend on the number of threads.
#include "kernels/cpu/isa/attention_tile.h"
#include "kernels/cpu/isa/dot.h"
#include "kernels/cpu/isa/gemm_tile.h"
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/scratch.h"

#include <omp.h>

#include <cstring>

namespace templar::TEMPLAR_ISA {

namespace {

constexpr int64_t range_keys = 256;
constexpr int64_t few = lanes / 4;  // queries for which vectors of queries would be mostly empty

int64_t parts_of(int64_t count, int64_t part) {
    return (count + part - 1) / part;
}

struct Shape {
    int64_t batch, tokens, heads, groups, size, capacity, past;
    int64_t row() const { return (heads + 2 * groups) * size; }  // from one token of qkv to the next
    int64_t per_group() const { return heads / groups; }
    // A group's queries are counted token by token; where one lies among all query heads of the tokens.
    int64_t queries() const { return tokens * per_group(); }
    int64_t token(int64_t query) const { return query / per_group(); }
    int64_t head(int64_t group, int64_t query) const { return group * per_group() + query % per_group(); }
    int64_t query_at(int64_t group, int64_t query) const { return token(query) * row() + head(group, query) * size; }
    int64_t out_at(int64_t group, int64_t query) const { return (token(query) * heads + head(group, query)) * size; }
    int64_t seen(int64_t query) const { return past + token(query) + 1; }  // keys, from the first on
    float scale() const { return 1.0f / __builtin_sqrtf(static_cast<float>(size)); }

    int64_t blocks() const { return parts_of(queries(), block); }
    int64_t range() const { return blocks() == 1 ? range_keys : past + tokens; }
    int64_t ranges() const { return parts_of(past + tokens, range()); }
    int64_t ranges_seen(int64_t query) const { return parts_of(seen(query), range()); }

    // What a range leaves of a query: its maximum, the sum of its weights relative to that, their sum of values (D).
    // Undefined in a range of which the query sees no key.
    int64_t partial() const { return 2 + size; }
    bool by_rows() const { return queries() <= few && size % lanes == 0; }
    int64_t working() const { return by_rows() ? few * (size + range_keys) : 2 * size * block + block * block; }
};

// One group's queries [first, first + count) over its keys [begin, end).
struct Part {
    const Shape& s;
    int64_t group, first, count, begin, end;
    const float *qkv, *keys, *values;  // of the sequence; of the group (P, D)
    float* partial;                    // (count, 2 + D)
    float* working;
};

// Vectors of queries, a block of keys after the other with the online softmax of attention.cpp.
void over_many_queries(const Part& p) {
    const Shape& s = p.s;
    const int64_t width = parts_of(p.count, lanes) * lanes;
    float* const queries = p.working;              // (D, block)
    float* const sums = queries + s.size * block;  // (D, block)
    float* const scores = sums + s.size * block;   // (key, query)
    std::memset(queries, 0, static_cast<size_t>(2 * s.size * block) * sizeof(float));
    for (int64_t i = 0; i < p.count; ++i) {
        const float* const q = p.qkv + s.query_at(p.group, p.first + i);
        for (int64_t d = 0; d < s.size; ++d) queries[d * block + i] = q[d] * s.scale();
    }
    Running running = nothing_seen();
    for (int64_t key = p.begin; key < p.end; key += block) {
        const int64_t keys = min(block, p.end - key);
        small_gemm(scores, block, {p.keys + key * s.size, s.size, 1}, queries, block, keys, width, s.size, false);
        for (int64_t i = 0; i < p.count; ++i)
            for (int64_t j = s.seen(p.first + i) - key; j < keys; ++j)
                if (j >= 0) scores[j * block + i] = minus_infinity;
        online_softmax(running, scores, keys, sums, s.size, width);
        small_gemm(sums, block, {p.values + key * s.size, 1, s.size}, scores, block, s.size, width, keys, true);
    }
    for (int64_t i = 0; i < p.count; ++i) {
        float* const to = p.partial + i * s.partial();
        to[0] = running.max[i];
        to[1] = running.sum[i];
        for (int64_t d = 0; d < s.size; ++d) to[2 + d] = sums[d * block + i];
    }
}

// scores -> e^(score - maximum), the maximum and the sum of those.
void softmax_row(float* scores, int64_t count, float& max, float& sum) {
    for (int64_t j = count; j % lanes != 0; ++j) scores[j] = minus_infinity;
    FloatVector largest = broadcast(minus_infinity), total{};
    for (int64_t j = 0; j < count; j += lanes) largest = larger(load(scores + j), largest);
    max = largest[0];
    for (int64_t i = 1; i < lanes; ++i) max = largest[i] > max ? largest[i] : max;
    for (int64_t j = 0; j < count; j += lanes) {
        const FloatVector e = fast_exp(load(scores + j) - max);
        store(scores + j, e);
        total += e;
    }
    sum = sum_of(total);
}

// Vectors along the rows of keys and values.
void over_few_queries(const Part& p) {
    const Shape& s = p.s;
    const int64_t keys = p.end - p.begin;
    float* const scores = p.working;                   // (query, key)
    float* const queries = scores + few * range_keys;  // (query, D)
    for (int64_t i = 0; i < p.count; ++i) {
        const float* const q = p.qkv + s.query_at(p.group, p.first + i);
        for (int64_t d = 0; d < s.size; ++d) queries[i * s.size + d] = q[d] * s.scale();
    }
    for (int64_t j = 0; j < keys; ++j)
        for (int64_t i = 0; i < p.count; ++i)
            scores[i * range_keys + j] = p.begin + j < s.seen(p.first + i)
                                             ? dot(queries + i * s.size, p.keys + (p.begin + j) * s.size, s.size)
                                             : minus_infinity;
    for (int64_t i = 0; i < p.count; ++i)
        softmax_row(scores + i * range_keys, keys, p.partial[i * s.partial()], p.partial[i * s.partial() + 1]);
    small_gemm(p.partial + 2, s.partial(), {scores, range_keys, 1}, p.values + p.begin * s.size, s.size, p.count,
               s.size, keys, false);
}

// partials: of each range, `apart` floats from one to the next.
void combine(float* out, const float* partials, int64_t ranges, int64_t apart, int64_t size) {
    float max = minus_infinity, sum = 0;
    for (int64_t r = 0; r < ranges; ++r) max = partials[r * apart] > max ? partials[r * apart] : max;
    std::memset(out, 0, static_cast<size_t>(size) * sizeof(float));
    for (int64_t r = 0; r < ranges; ++r) {
        const float* const partial = partials + r * apart;
        const float share = fast_exp(partial[0] - max);
        sum += share * partial[1];
        for (int64_t d = 0; d < size; ++d) out[d] += share * partial[2 + d];
    }
    for (int64_t d = 0; d < size; ++d) out[d] *= 1.0f / sum;
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

    const int64_t blocks = s.blocks(), ranges = s.ranges(), sequences = s.batch * s.groups;
    const int64_t apart = s.queries() * s.partial();  // from one range's partials (query, 2 + D) to the next
    float* const working = thread_scratch(stream.threads * s.working() + sequences * ranges * apart);
    float* const partials = working + stream.threads * s.working();
#pragma omp parallel num_threads(stream.threads)
    {
#pragma omp for collapse(3) schedule(dynamic)
        for (int64_t bg = 0; bg < sequences; ++bg)
            for (int64_t n = 0; n < blocks; ++n)
                for (int64_t r = 0; r < ranges; ++r) {
                    const int64_t first = n * block, count = min(block, s.queries() - first);
                    // No key later than the last that any of them sees.
                    const int64_t begin = r * s.range(), end = min(begin + s.range(), s.seen(first + count - 1));
                    const Part part{.s = s,
                                    .group = bg % s.groups,
                                    .first = first,
                                    .count = count,
                                    .begin = begin,
                                    .end = end,
                                    .qkv = qkv.f32() + bg / s.groups * s.tokens * s.row(),
                                    .keys = kept(keys, bg, 0),
                                    .values = kept(values, bg, 0),
                                    .partial = partials + (bg * ranges + r) * apart + first * s.partial(),
                                    .working = working + omp_get_thread_num() * s.working()};
                    if (s.by_rows())
                        over_few_queries(part);
                    else
                        over_many_queries(part);
                }
#pragma omp for collapse(2)
        for (int64_t bg = 0; bg < sequences; ++bg)
            for (int64_t q = 0; q < s.queries(); ++q)
                combine(out.f32() + bg / s.groups * s.tokens * s.heads * s.size + s.out_at(bg % s.groups, q),
                        partials + bg * ranges * apart + q * s.partial(), s.ranges_seen(q), apart, s.size);
    }
}

}  // namespace templar::TEMPLAR_ISA
