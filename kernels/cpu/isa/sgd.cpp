// Stochastic gradient descent with momentum and coupled decay, as PyTorch's torch.optim.SGD (dampening 0, no Nesterov):
// d = g + wd·p, m <- µ·m + d, p <- p - lr·m; without a momentum tensor p <- p - lr·d.
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/isa/rounded.h"

namespace templar::TEMPLAR_ISA {

void sgd(Stream& stream, Tensor params, Tensor weights, Tensor momentum, Tensor grads, SgdStep step) {
    constexpr int64_t block = 4096;
    const int64_t count = params.numel();
    float* const p = params.f32();
    float* const m = momentum.f32();
    const float* const gradient = grads.f32();
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t begin = 0; begin < count; begin += block) {
        const int64_t end = begin + block < count ? begin + block : count;
        if (m) {
#pragma omp simd
            for (int64_t i = begin; i < end; ++i) {
                m[i] = step.momentum * m[i] + (gradient[i] * step.grad_scale + step.weight_decay * p[i]);
                p[i] -= step.lr * m[i];
            }
        } else {
#pragma omp simd
            for (int64_t i = begin; i < end; ++i)
                p[i] -= step.lr * (gradient[i] * step.grad_scale + step.weight_decay * p[i]);
        }
        if (weights) store_rounded(weights, begin, p + begin, end - begin);
    }
}

}  // namespace templar::TEMPLAR_ISA
