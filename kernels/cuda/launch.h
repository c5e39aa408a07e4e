// The one way a kernel is started.
#pragma once

#include "base/error.h"
#include "kernels/cuda/stream.h"

#include <cstddef>
#include <utility>

namespace templar::cuda {

// Throws Error(device) with CUDA's own words and what was being done.
inline void check(cudaError_t status, const char* doing) {
    if (status != cudaSuccess)
        fail(ExitCode::device, "the GPU failed in {}: {} ({})", doing, cudaGetErrorString(status),
             cudaGetErrorName(status));
}

// Starts kernel(arguments...) on the stream. shared_bytes: size of its shared_storage(), up to 227 KB. `name` is for
// the error.
template <class... Parameters, class... Arguments>
void launch([[maybe_unused]] Stream& stream, const char* name, dim3 grid, dim3 block, size_t shared_bytes,
            void (*kernel)(Parameters...), Arguments&&... arguments) {
#if defined(__CUDACC__)
    if (shared_bytes > 48 * 1024)
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
              name);
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream.cuda->handle;
    check(cudaLaunchKernelEx(&config, kernel, Parameters(std::forward<Arguments>(arguments))...), name);
#else
    simt::launch(name, grid, block, shared_bytes, kernel, Parameters(std::forward<Arguments>(arguments))...);
#endif
}

}  // namespace templar::cuda
