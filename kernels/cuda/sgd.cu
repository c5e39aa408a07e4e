// Stochastic gradient descent with momentum and coupled decay, as PyTorch's torch.optim.SGD (dampening 0, no Nesterov):
// d = g + wd·p, m <- µ·m + d, p <- p - lr·m; without a momentum tensor p <- p - lr·d; and the new p rounded to bf16 for
// the model to read.
//
//     params, momentum, grads fp32, weights bf16; momentum and weights may be absent: flat arrays of one length
//
// Bound by memory: 20 bytes for each parameter, 12 without momentum, 2 more with weights.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.h"

namespace templar::cuda {

namespace {

constexpr int block_threads = 256;

template <int n>
__global__ void __launch_bounds__(block_threads)
    sgd_kernel(float* params, __nv_bfloat16* weights, float* momentum, const float* grads, SgdStep step, int64_t begin,
               int64_t end) {
    const int64_t i = begin + (int64_t{blockIdx.x} * block_threads + threadIdx.x) * n;
    if (i >= end) return;
    const Floats<n> gradient = load<n>(grads + i, Use::streaming);
    Floats<n> p = load<n>(params + i, Use::streaming), m{};
    if (momentum) m = load<n>(momentum + i, Use::streaming);
    for (int j = 0; j < n; ++j) {
        const float d = gradient[j] * step.grad_scale + step.weight_decay * p[j];
        m[j] = momentum ? step.momentum * m[j] + d : d;
        p[j] -= step.lr * m[j];
    }
    if (momentum) store(momentum + i, m, Use::streaming);
    store(params + i, p, Use::streaming);
    if (weights) store(weights + i, p, Use::streaming);
}

}  // namespace

void sgd(Stream& stream, Tensor params, Tensor weights, Tensor momentum, Tensor grads, SgdStep step) {
    constexpr const char* name = "sgd";
    require_type(name, DType::f32, {params, momentum, grads});
    require_type(name, DType::bf16, {weights});
    const bool aligned = whole_packs<float>(0, params.data, weights.data, momentum.data, grads.data);
    const int64_t count = params.numel(), packed = aligned ? count - count % 4 : 0;
    const auto run = [&]<int n>(int64_t begin, int64_t end) {
        if (begin < end)
            launch(stream, name, grid_of(ceil_div((end - begin) / n, block_threads)), block_threads, 0, sgd_kernel<n>,
                   params.f32(), data<__nv_bfloat16>(weights), data<float>(momentum), grads.f32(), step, begin, end);
    };
    run.operator()<4>(0, packed);
    run.operator()<1>(packed, count);
}

}  // namespace templar::cuda
