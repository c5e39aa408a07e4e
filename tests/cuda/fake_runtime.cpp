#include "tests/cuda/fake_cuda.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

namespace templar::test {
FakeCuda fake;
void log_call(const char* what, const void* stream) {
    if (fake.logs) fake.log.emplace_back(what, stream);
}
}  // namespace templar::test

using templar::test::fake;

namespace {

std::map<void*, size_t> device_memory;
std::set<void*> pinned_memory;
cudaError_t last_error = cudaSuccess;

// Every function's result: its own, unless the GPU is broken. Kept until it is read.
cudaError_t said(cudaError_t own = cudaSuccess) {
    const cudaError_t result = fake.broken ? fake.broken : own;
    if (result) {
        last_error = result;
        ++fake.unread_errors;
    }
    return result;
}

struct Event {
    double at = 0;
};

}  // namespace

extern "C" {

// What nvcc's host code calls to register kernels; they never run here.
void** __cudaRegisterFatBinary(void*) {
    static void* handle;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {}
cudaError_t __cudaPopCallConfiguration(dim3*, dim3*, size_t*, void*) {
    std::abort();
}
cudaError_t __cudaGetKernel(cudaKernel_t*, const void*) {
    std::abort();
}
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t) {
    std::abort();
}

const char* cudaGetErrorName(cudaError_t error) {
    return error == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress" : "cudaErrorECCUncorrectable";
}
const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorIllegalAddress ? "an illegal memory access was encountered"
                                            : "uncorrectable ECC error encountered";
}
cudaError_t cudaGetLastError() {
    const cudaError_t result = fake.broken ? fake.broken : last_error;
    last_error = cudaSuccess;
    fake.unread_errors = 0;
    return result;
}
cudaError_t cudaPeekAtLastError() {
    return fake.broken ? fake.broken : last_error;
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = fake.driver;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
    if (fake.driver < CUDART_VERSION / 1000 * 1000) return said(cudaErrorInsufficientDriver);
    if (fake.start) return said(fake.start);
    *count = fake.gpus;
    return said();
}
cudaError_t cudaInitDevice(int, unsigned, unsigned) {
    return said();
}
cudaError_t cudaSetDevice(int) {
    return said();
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void*) {
    return said(fake.image);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* gpu, int) {
    std::memset(static_cast<void*>(gpu), 0, sizeof *gpu);
    std::snprintf(gpu->name, sizeof gpu->name, "Fake");
    gpu->totalGlobalMem = fake.memory;
    gpu->multiProcessorCount = 132;
    gpu->major = fake.major;
    gpu->minor = fake.minor;
    return said();
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
    if (fake.broken || fake.used + bytes > fake.memory)
        return said(cudaErrorMemoryAllocation);  // or what broke it
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*memory, 0xff, bytes);
    device_memory[*memory] = bytes;
    fake.used += bytes;
    ++fake.allocations;
    ++fake.memories;
    return said();
}
cudaError_t cudaFree(void* memory) {
    if (!memory) return said();
    fake.used -= device_memory.at(memory);
    device_memory.erase(memory);
    std::free(memory);
    --fake.memories;
    return said();
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    *free = fake.memory - fake.used;
    *total = fake.memory;
    return said();
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
    *memory = std::malloc(bytes);
    pinned_memory.insert(*memory);
    return said();
}
cudaError_t cudaFreeHost(void* memory) {
    pinned_memory.erase(memory);
    std::free(memory);
    return said();
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
    attributes->type =
        pinned_memory.contains(const_cast<void*>(memory)) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    return said();
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
    if (!fake.broken) std::memmove(to, from, bytes);
    return said();
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
    if (!fake.broken) std::memset(memory, value, bytes);
    return said();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    if (fake.broken) return said();
    *stream = reinterpret_cast<cudaStream_t>(new char);
    ++fake.handles;
    return said();
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
    return cudaStreamCreateWithFlags(stream, 0);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    *least = 0;
    *greatest = -5;
    return said();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t, unsigned) {
    templar::test::log_call("wait", stream);
    return said();
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete reinterpret_cast<char*>(stream);
    --fake.handles;
    return said();
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    ++fake.waits;
    return said();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    if (fake.broken) return said();
    *event = reinterpret_cast<cudaEvent_t>(new Event);
    ++fake.handles;
    return said();
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
    return cudaEventCreateWithFlags(event, 0);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete reinterpret_cast<Event*>(event);
    --fake.handles;
    return said();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    templar::test::log_call("record", stream);
    reinterpret_cast<Event*>(event)->at = fake.clock;
    return said();
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
    return said();
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    *milliseconds = static_cast<float>(reinterpret_cast<Event*>(to)->at - reinterpret_cast<Event*>(from)->at);
    return said();
}

}  // extern "C"
