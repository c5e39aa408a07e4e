// What every .cu file includes first: CUDA's language and types from nvcc, or from the emulator (tests/simt) when g++
// builds the same file for machines without a GPU. No other file of this folder knows which of the two it is.
#pragma once

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace templar::cuda {

// The kernel's shared memory: one struct describes all of it (launch() is given its size).
template <class Storage>
__device__ __forceinline__ Storage& shared_storage() {
    extern __shared__ __align__(1024) unsigned char shared_bytes[];
    return *reinterpret_cast<Storage*>(shared_bytes);
}

}  // namespace templar::cuda

#else

#include "simt.h"

#endif
