// The k largest magnitudes of a chunk in shared memory, by a block of 64 threads.
//
// The k-th largest of the 64 threads' peaks is a lower bound of the k-th largest value, and a good one: 44 of 4096
// normally distributed values reach it for k = 32. Among those few the exact k-th largest is found by counting, for
// each, how many are larger. Where the bound lets too many pass (k > 64, ties) its bits are found one after another
// over all values.
#pragma once

#include "kernels/cuda/dct.h"

namespace templar::cuda {

// The bits of |x|: ordered like the magnitudes (NaN above infinity, so that exactly k are picked whatever the values
// are).
__device__ __forceinline__ uint32_t magnitude_bits(float x) {
    return __float_as_uint(x) & 0x7fffffffu;
}

template <int max_k>
struct TopK {
    static constexpr int capacity = 256;  // beyond it comparing all pairs takes longer than the search by bits

    uint16_t picked[max_k];  // the result: k <= max_k indices, ascending
    uint32_t largest;        // magnitude_bits of the largest
    uint32_t peaks[dct_threads];
    uint32_t candidates[capacity];
    uint32_t candidate_count, bound, least;
    uint32_t reached[32];  // by bit of the search
    uint32_t warp_largest[2], warp_sum[2];

    // `peak`: the largest magnitude_bits of this thread's share of the chunk's values, whatever the shares are. All
    // threads call it; begins and ends with a barrier.
    __device__ void select(const ChunkValues& chunk, int size, int k, uint32_t peak) {
        const int t = static_cast<int>(threadIdx.x);
        const uint32_t warp_peak = __reduce_max_sync(~0u, peak);
        if (t % 32 == 0) warp_largest[t / 32] = warp_peak;
        peaks[t] = peak;
        if (t == 0) candidate_count = bound = 0;
        if (t < 32) reached[t] = 0;
        __syncthreads();
        if (t == 0) largest = max(warp_largest[0], warp_largest[1]);
        if (k == size || (warp_largest[0] | warp_largest[1]) == 0) {  // everything, or of equal zeros the first
            for (int i = t; i < k; i += dct_threads) picked[i] = static_cast<uint16_t>(i);
            __syncthreads();
            return;
        }

        // From here on thread t looks at values 64t … 64t + 63, a row of padded memory. Bit i stands for value 64t + i.
        const float* row = chunk.values + t * chunk_row;
        const int valid = min(max(size - t * 64, 0), 64);
        if (k <= dct_threads) {
            find_kth_largest(&bound, peaks, dct_threads, k);
            __syncthreads();
        }
        const uint64_t mask = at_least(row, valid, bound);
        const uint32_t mine = static_cast<uint32_t>(__popcll(mask));
        uint32_t next = atomicAdd(&candidate_count, mine);
        for (uint64_t left = mask; left != 0 && next < capacity; left &= left - 1)
            candidates[next++] = magnitude_bits(row[__ffsll(static_cast<long long>(left)) - 1]);
        __syncthreads();
        if (candidate_count <= capacity) {
            find_kth_largest(&least, candidates, static_cast<int>(candidate_count), k);
            __syncthreads();
        } else {
            search_bits(row, valid, k);
        }
        pick(row, mask, k);
        __syncthreads();
    }

  private:
    // Bit i: magnitude i of `row` has at least the bits `bound`.
    __device__ static uint64_t at_least(const float* row, int valid, uint32_t bound) {
        uint32_t halves[2] = {0, 0};
#pragma unroll
        for (int i = 0; i < 64; i += 4) {
            const Floats<4> four = load<4>(row + i);
            for (int e = 0; e < 4; ++e) halves[i / 32] |= magnitude_bits(four[e]) >= bound ? 1u << ((i + e) % 32) : 0u;
        }
        const uint64_t all = static_cast<uint64_t>(halves[1]) << 32 | halves[0];
        return valid == 64 ? all : all & ((uint64_t{1} << valid) - 1);
    }

    // *result <- the number of the list that fewer than k exceed and at least k reach. Every thread that finds it,
    // finds the same.
    __device__ static void find_kth_largest(uint32_t* result, const uint32_t* list, int count, int k) {
        for (int i = static_cast<int>(threadIdx.x); i < count; i += dct_threads) {
            const uint32_t number = list[i];
            int larger = 0, not_smaller = 0;
#pragma unroll 8
            for (int j = 0; j < count; ++j) {
                larger += list[j] > number;
                not_smaller += list[j] >= number;
            }
            if (larger < k && k <= not_smaller) *result = number;
        }
    }

    // least <- the k-th largest magnitude of the chunk, from the highest bit to the lowest.
    __device__ void search_bits(const float* row, int valid, int k) {
        uint32_t found = 0;
        for (int bit = 30; bit >= 0; --bit) {
            const uint32_t tried = found | 1u << bit;
            const uint32_t mine = static_cast<uint32_t>(__popcll(at_least(row, valid, tried)));
            const uint32_t warp = __reduce_add_sync(~0u, mine);
            if (threadIdx.x % 32 == 0) atomicAdd(&reached[bit], warp);
            __syncthreads();
            if (reached[bit] >= static_cast<uint32_t>(k)) found = tried;
        }
        if (threadIdx.x == 0) least = found;
        __syncthreads();
    }

    // Sum of `number` over the threads before this one; all threads' sum in `total`.
    __device__ uint32_t sum_before(uint32_t number, uint32_t& total) {
        const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
        uint32_t sum = number;
#pragma unroll
        for (int distance = 1; distance < 32; distance *= 2) {
            const uint32_t before = __shfl_up_sync(~0u, sum, distance);
            if (lane >= distance) sum += before;
        }
        if (lane == 31) warp_sum[warp] = sum;
        __syncthreads();
        total = warp_sum[0] + warp_sum[1];
        return sum - number + (warp == 1 ? warp_sum[0] : 0);
    }

    // picked <- the candidates above `least` and of those equal to it the lowest indices, k in all.
    __device__ void pick(const float* row, uint64_t candidates_here, int k) {
        uint64_t larger = 0, equal = 0;
        for (uint64_t left = candidates_here; left != 0; left &= left - 1) {
            const uint32_t magnitude = magnitude_bits(row[__ffsll(static_cast<long long>(left)) - 1]);
            if (magnitude > least) larger |= left & (~left + 1);
            if (magnitude == least) equal |= left & (~left + 1);
        }
        // Two sums in one: larger ones in the low half, equal ones in the high half, each at most 4096.
        uint32_t total;
        const uint32_t here = static_cast<uint32_t>(__popcll(larger)) | static_cast<uint32_t>(__popcll(equal)) << 16;
        const uint32_t before = sum_before(here, total);
        const uint32_t wanted_equal = static_cast<uint32_t>(k) - (total & 0xffff);
        uint32_t equal_before = before >> 16;
        uint32_t position = (before & 0xffff) + min(equal_before, wanted_equal);
        for (uint64_t left = larger | equal; left != 0; left &= left - 1) {
            const int i = __ffsll(static_cast<long long>(left)) - 1;
            if ((equal >> i & 1) != 0 && equal_before++ >= wanted_equal) continue;
            picked[position++] = static_cast<uint16_t>(threadIdx.x * 64 + static_cast<unsigned>(i));
        }
    }
};

}  // namespace templar::cuda
