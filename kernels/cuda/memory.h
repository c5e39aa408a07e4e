// Copies from global to shared memory that run beside the computation (cp.async, sm_80 on).
//
//   copy_async_16(...); …; commit_copies();   a group of copies is under way
//   wait_for_copies<1>(); __syncthreads();    all groups but the newest have arrived, and every thread knows it
#pragma once

#include "kernels/cuda/cuda.h"

namespace templar::cuda {

// 16 bytes, both addresses multiples of 16; past the L1 cache. Not valid: zeros are written and `from` is not read.
__device__ __forceinline__ void copy_async_16(void* to_shared, const void* from, bool valid = true) {
#if defined(__CUDACC__)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(
                     static_cast<unsigned>(__cvta_generic_to_shared(to_shared))),
                 "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
#else
    simt::pending_copies().add({to_shared, valid ? from : nullptr, 16});
#endif
}

// Makes a group of this thread's copies since the last one.
__device__ __forceinline__ void commit_copies() {
#if defined(__CUDACC__)
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#else
    simt::pending_copies().commit();
#endif
}

// Waits until at most `pending` of this thread's groups, the newest, are under way. Other threads see what arrived only
// after a barrier.
template <int pending>
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDACC__)
    asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
#else
    simt::pending_copies().wait(pending);
#endif
}

}  // namespace templar::cuda
