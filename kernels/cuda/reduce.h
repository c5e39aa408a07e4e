// Sums and maxima over the threads of a warp or a block, in a fixed order: the same bits on every run.
#pragma once

#include "kernels/cuda/cuda.h"

#include <cmath>

namespace templar::cuda {

// ---- over a warp: all 32 lanes call, all get the result -----------------------------------------------------------
// By a butterfly: lane i adds lane i ^ 16, then i ^ 8, … Addition commutes, so all lanes end with the same bits.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}
// fmaxf: a NaN loses against a number.
__device__ __forceinline__ float warp_max(float value) {
    for (int distance = 16; distance > 0; distance /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

// ---- over a block of whole warps (one dimension): all threads call, all get the result ----------------------------
// The kernel's Storage holds one BlockReduce<T>. It may be used again only after another __syncthreads().
template <class T>
struct BlockReduce {
    T of_warp[32];
};

template <class T, class Combine>
__device__ __forceinline__ T block_reduce(T value, T nothing, BlockReduce<T>& shared, Combine combine) {
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int warps = static_cast<int>(blockDim.x / 32);
    value = combine(value);
    if (lane == 0) shared.of_warp[warp] = value;
    __syncthreads();
    return combine(lane < warps ? shared.of_warp[lane] : nothing);
}

template <class T>
__device__ __forceinline__ T block_sum(T value, BlockReduce<T>& shared) {
    return block_reduce(value, T(0), shared, [](T x) { return warp_sum(x); });
}
__device__ __forceinline__ float block_max(float value, BlockReduce<float>& shared) {
    return block_reduce(value, -INFINITY, shared, [](float x) { return warp_max(x); });
}

}  // namespace templar::cuda
