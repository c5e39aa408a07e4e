// The k-th largest of the 64 group peaks is a lower bound of the k-th largest value, and a good one: 44 of
// 4096 normally distributed values lie above it for k = 32. So one pass collects few candidates, and only
// among those the exact k-th largest is looked for. Candidates are collected in ascending order, which makes
// sorting and breaking ties free.
#include "kernels/cpu/isa/topk.h"

namespace templar::TEMPLAR_ISA {

namespace {

// The k-th largest of `count` non-negative numbers, rounded down to a multiple of 2^lowest_bit: its bits are
// found from the highest to the lowest.
int32_t kth_largest(const int32_t* numbers, int count, int k, int lowest_bit) {
    int32_t found = 0;
    for (int bit = 30; bit >= lowest_bit; --bit) {
        const int32_t candidate = found | 1 << bit;
        int at_least = 0;
        for (int i = 0; i < count; ++i) at_least += numbers[i] >= candidate;
        if (at_least >= k) found = candidate;
    }
    return found;
}

constexpr int block = 32;

// Bit i: |values[i]| has at least the bits `bound`.
inline uint32_t at_least(const float* values, int count, int32_t bound) {
    uint32_t hits = 0;
    for (int i = 0; i < count; ++i) hits |= magnitude_bits(values[i]) >= bound ? 1u << i : 0u;
    return hits;
}

}  // namespace

void TopK::select(int32_t* indices, const float* values, int size, int k, const int32_t* peaks) {
    // Eleven bits of the mantissa are close enough for a bound.
    const int32_t bound = k <= peak_groups ? kth_largest(peaks, peak_groups, k, 12) : 0;
    int count = 0;
    for (int first = 0; first < size; first += block) {
        const uint32_t hits = size - first < block ? at_least(values + first, size - first, bound)
                                                   : at_least(values + first, block, bound);
        for (uint32_t left = hits; left != 0; left &= left - 1) {
            const int i = first + __builtin_ctz(left);
            index_[count] = i;
            magnitude_[count++] = magnitude_bits(values[i]);
        }
    }

    const int32_t least = kth_largest(magnitude_, count, k, 0);
    int larger = 0;
    for (int i = 0; i < count; ++i) larger += magnitude_[i] > least;
    int equal_left = k - larger;
    for (int i = 0, n = 0; n < k; ++i) {
        if (magnitude_[i] < least || (magnitude_[i] == least && equal_left-- <= 0)) continue;
        indices[n++] = index_[i];
    }
}

}  // namespace templar::TEMPLAR_ISA
