// The hardware's own exponential and reciprocal, for kernels that would otherwise wait for arithmetic instead of
// memory. For results that need not agree between machines: never in an *exact* operation.
#pragma once

#include "kernels/cuda/cuda.h"

#include <cmath>

namespace templar::cuda {

inline constexpr float log2_e = 1.44269504f;
inline constexpr double ln_2 = 0.69314718055994531;

// 2^x within 2^-22; results below 2^-126 become 0. -inf gives 0, NaN stays.
__device__ __forceinline__ float exp2_approx(float x) {
#if defined(__CUDACC__)
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    const float result = std::exp2(x);
    return result < 0x1p-126f ? 0.0f : result;
#endif
}

// 1/x within one unit in the last place; 0 where |x| > 2^126.
__device__ __forceinline__ float reciprocal_approx(float x) {
#if defined(__CUDACC__)
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    const float result = 1.0f / x;
    return std::fabs(result) < 0x1p-126f ? 0.0f : result;
#endif
}

}  // namespace templar::cuda
