// A stand-in for the CUDA runtime and cuBLASLt, on the host's memory: it lets a test run the host side of the
// plugin where no GPU is, and have that GPU break. kernels/cuda/device.cu and matmul.cu as nvcc compiled them
// are linked with it.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace templar::test {

struct FakeCuda {
    // ---- the machine, for a test to change
    // ------------------------------------------------------------------------------------
    int driver = 13000;               // newest CUDA of the driver; 0: there is none
    cudaError_t start = cudaSuccess;  // what the driver says when asked for GPUs
    int gpus = 2;
    int major = 9, minor = 0;
    cudaError_t image = cudaSuccess;  // what loading a kernel says
    size_t memory = size_t{256} << 20;
    cudaError_t broken = cudaSuccess;  // a kernel failed: from now on every call says so

    // ---- what the program did
    // -----------------------------------------------------------------------------------------------
    size_t used = 0;
    int allocations = 0;            // ever
    int memories = 0, handles = 0;  // not freed yet; streams, events and cuBLASLt's handles
    int waits = 0;                  // for a stream
    int unread_errors = 0;          // that a later check would take for its own

    // ---- cuBLASLt
    // --------------------------------------------------------------------------------------------------------------
    std::vector<float> milliseconds{3, 2, 1, 2.5f};  // of each algorithm it proposes
    std::set<uint64_t> fails;                        // algorithms that are proposed but do not run
    size_t version = 130100;
    int choices = 0;            // times it was asked for proposals
    std::vector<uint64_t> ran;  // algorithms, in order
    double clock = 0;           // milliseconds

    // ---- events and NCCL, in order: "record", "wait" (for an event) or "nccl", and the stream
    // -----------------------------------
    bool logs = false;
    std::vector<std::pair<std::string, const void*>> log;
};
extern FakeCuda fake;
void log_call(const char* what, const void* stream);

}  // namespace templar::test
