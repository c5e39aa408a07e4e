// Σ x², in double: each thread adds what lies a whole grid apart, each block its threads, then one block all blocks.
// The grid depends on the length alone, so every GPU gets the same bits.
//
//     x: fp32, any shape; the result goes to the host, so this call waits for the stream
//
// Bound by memory: 4 bytes for each number.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/vector.h"

#include <algorithm>

namespace templar::cuda {

namespace {

constexpr int block_threads = 256;
constexpr int max_blocks = 1024;  // 7.8 for each multiprocessor of an H200: all resident

struct SumStorage {
    BlockReduce<double> sum;
};

template <int n>
__global__ void __launch_bounds__(block_threads) partial_kernel(double* partial, const float* x, int64_t count) {
    SumStorage& shared = shared_storage<SumStorage>();
    double sum = 0;
    const auto add = [&](float value) { sum += static_cast<double>(value) * static_cast<double>(value); };
    const int64_t thread = int64_t{blockIdx.x} * block_threads + threadIdx.x,
                  threads = int64_t{gridDim.x} * block_threads;
#pragma unroll 4
    for (int64_t pack = thread; pack < count / n; pack += threads) {
        const Floats<n> values = load<n>(x + pack * n, Use::streaming);
        for (int j = 0; j < n; ++j) add(values[j]);
    }
    if (thread < count % n) add(x[count - 1 - thread]);
    sum = block_sum(sum, shared.sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(block_threads) total_kernel(double* total, const double* partial, int blocks) {
    SumStorage& shared = shared_storage<SumStorage>();
    double sum = 0;
    for (int b = static_cast<int>(threadIdx.x); b < blocks; b += block_threads) sum += partial[b];
    sum = block_sum(sum, shared.sum);
    if (threadIdx.x == 0) *total = sum;
}

}  // namespace

double sum_of_squares(Stream& stream, Tensor x) {
    constexpr const char* name = "sum_of_squares";
    require_type(name, DType::f32, {x});
    double* const partial = static_cast<double*>(scratch(stream, (max_blocks + 1) * int64_t{sizeof(double)}));
    double* const total = partial + max_blocks;
    const int64_t blocks = std::clamp<int64_t>(ceil_div(x.numel(), 4 * block_threads), 1, max_blocks);
    with_width<float>(whole_packs<float>(0, x.data), [&]<int n>() {
        launch(stream, name, grid_of(blocks), block_threads, sizeof(SumStorage), partial_kernel<n>, partial, x.f32(),
               x.numel());
    });
    launch(stream, name, 1, block_threads, sizeof(SumStorage), total_kernel, total, partial, static_cast<int>(blocks));
    double result = 0;
    check(cudaMemcpyAsync(&result, total, sizeof(result), cudaMemcpyDeviceToHost, stream.cuda->handle), name);
    check(cudaStreamSynchronize(stream.cuda->handle), name);
    return result;
}

}  // namespace templar::cuda
