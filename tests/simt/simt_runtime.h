// The few functions of CUDA's host interface that kernels/cuda/*.cu use beside launch(). Work is done when a call
// returns, so that streams and waiting for them mean nothing.
#pragma once

#include "simt_memory.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

struct CUstream_st;
using cudaStream_t = CUstream_st*;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
inline const char* cudaGetErrorName(cudaError_t error) {
    return error == cudaSuccess ? "cudaSuccess" : "cudaErrorInvalidValue";
}
inline const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaSuccess ? "no error" : "invalid argument";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    const auto size = static_cast<int64_t>(bytes);
    if (kind != cudaMemcpyDeviceToHost && simt::is_out_of_reach(to, size)) return cudaErrorInvalidValue;
    if (kind != cudaMemcpyHostToDevice && simt::is_out_of_reach(from, size)) return cudaErrorInvalidValue;
    const simt::DeviceAccess access;
    std::memmove(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t) {
    if (simt::is_out_of_reach(memory, static_cast<int64_t>(bytes))) return cudaErrorInvalidValue;
    const simt::DeviceAccess access;
    std::memset(memory, value, bytes);
    return cudaSuccess;
}
