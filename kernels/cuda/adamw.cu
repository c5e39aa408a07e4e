// AdamW (Loshchilov & Hutter 2019): m <- β1·m + (1-β1)·g, v <- β2·v + (1-β2)·g²,
// p <- p·(1 - lr·wd) - lr·(m/bias1)/(sqrt(v/bias2) + eps), and the new p rounded to bf16 for the model to read.
//
//     params, m, v, grads fp32, weights bf16 or absent: flat arrays of one length
//
// Bound by memory: 28 bytes for each parameter, 30 with weights; nothing of it is used again soon.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.h"

#include <cmath>

namespace templar::cuda {

namespace {

constexpr int block_threads = 256;

// What is the same for every parameter.
struct Factors {
    float grad_scale, beta1, beta2;
    float keep;  // 1 - lr·wd
    float rate;  // lr/bias1
    float root;  // 1/sqrt(bias2)
    float eps;
};

template <int n>
__global__ void __launch_bounds__(block_threads)
    adamw_kernel(float* params, __nv_bfloat16* weights, float* m, float* v, const float* grads, Factors f,
                 int64_t begin, int64_t end) {
    const int64_t i = begin + (int64_t{blockIdx.x} * block_threads + threadIdx.x) * n;
    if (i >= end) return;
    const Floats<n> gradient = load<n>(grads + i, Use::streaming);
    Floats<n> first = load<n>(m + i, Use::streaming), second = load<n>(v + i, Use::streaming);
    Floats<n> p = load<n>(params + i, Use::streaming);
    for (int j = 0; j < n; ++j) {
        const float g = gradient[j] * f.grad_scale;
        first[j] = f.beta1 * first[j] + (1.0f - f.beta1) * g;
        second[j] = f.beta2 * second[j] + (1.0f - f.beta2) * g * g;
        p[j] = p[j] * f.keep - f.rate * first[j] / (sqrtf(second[j]) * f.root + f.eps);
    }
    store(m + i, first, Use::streaming);
    store(v + i, second, Use::streaming);
    store(params + i, p, Use::streaming);
    if (weights) store(weights + i, p, Use::streaming);
}

template <int n>
__global__ void __launch_bounds__(block_threads)
    round_kernel(__nv_bfloat16* weights, const float* params, int64_t begin, int64_t end) {
    const int64_t i = begin + (int64_t{blockIdx.x} * block_threads + threadIdx.x) * n;
    if (i < end) store(weights + i, load<n>(params + i, Use::streaming), Use::streaming);
}

// run.operator()<n>(begin, end, blocks): `count` parameters in packs of n, and what is left (everything, where an
// address is not a multiple of 16 bytes) one by one.
template <int pack, class Run>
void with_flat(int64_t count, bool aligned, Run&& run) {
    const int64_t packed = aligned ? count - count % pack : 0;
    if (packed > 0) run.template operator()<pack>(0, packed, grid_of(ceil_div(packed / pack, block_threads)));
    if (packed < count) run.template operator()<1>(packed, count, grid_of(ceil_div(count - packed, block_threads)));
}

}  // namespace

void adamw(Stream& stream, Tensor params, Tensor weights, Tensor m, Tensor v, Tensor grads, AdamWStep step) {
    constexpr const char* name = "adamw";
    require_type(name, DType::f32, {params, m, v, grads});
    require_type(name, DType::bf16, {weights});
    const Factors factors{.grad_scale = step.grad_scale,
                          .beta1 = step.beta1,
                          .beta2 = step.beta2,
                          .keep = 1.0f - step.lr * step.weight_decay,
                          .rate = step.lr / step.bias1,
                          .root = 1.0f / std::sqrt(step.bias2),
                          .eps = step.eps};
    const bool aligned = whole_packs<float>(0, params.data, weights.data, m.data, v.data, grads.data);
    with_flat<4>(params.numel(), aligned, [&]<int n>(int64_t begin, int64_t end, dim3 blocks) {
        launch(stream, name, blocks, block_threads, 0, adamw_kernel<n>, params.f32(), data<__nv_bfloat16>(weights),
               m.f32(), v.f32(), grads.f32(), factors, begin, end);
    });
}

void round_weights(Stream& stream, Tensor weights, Tensor params) {
    constexpr const char* name = "round_weights";
    require_type(name, DType::f32, {params});
    require_type(name, DType::bf16, {weights});
    const bool aligned = whole_packs<float>(0, params.data, weights.data);
    with_flat<8>(params.numel(), aligned, [&]<int n>(int64_t begin, int64_t end, dim3 blocks) {
        launch(stream, name, blocks, block_threads, 0, round_kernel<n>, data<__nv_bfloat16>(weights), params.f32(),
               begin, end);
    });
}

}  // namespace templar::cuda
