// A CUDA stream with the working memory that its operations share. Operations of one stream run one after another, so
// each may use all of it.
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/stream.h"

#include <cstdint>

namespace templar {

namespace cuda {
class MatmulPlans;    // kernels/cuda/matmul.h
class AttentionPath;  // kernels/cuda/attention_path.h
}

struct CudaStream {
    cudaStream_t handle = nullptr;
    int multiprocessors = 1;  // of the device
    void* scratch = nullptr;
    int64_t scratch_bytes = 0;
    cuda::MatmulPlans* matmul = nullptr;
    cuda::AttentionPath* attention = nullptr;  // asked before our own kernels, where there is one
};

namespace cuda {

inline constexpr int64_t scratch_bytes = int64_t{64} << 20;

// The stream's scratch memory, for at least `bytes`; throws Error(internal) when it is smaller.
void* scratch(Stream& stream, int64_t bytes);

}  // namespace cuda
}  // namespace templar
