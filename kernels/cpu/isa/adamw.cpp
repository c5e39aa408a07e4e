// AdamW (Loshchilov & Hutter 2019): m <- β1·m + (1-β1)·g, v <- β2·v + (1-β2)·g²,
// p <- p·(1 - lr·wd) - lr·(m/bias1)/(sqrt(v/bias2) + eps).
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/isa/rounded.h"

namespace templar::TEMPLAR_ISA {

namespace {
constexpr int64_t block = 4096;
}

void adamw(Stream& stream, Tensor params, Tensor weights, Tensor m, Tensor v, Tensor grads, AdamWStep step) {
    const int64_t count = params.numel();
    float* const p = params.f32();
    float* const first = m.f32();
    float* const second = v.f32();
    const float* const gradient = grads.f32();
    const float keep = 1.0f - step.lr * step.weight_decay;
    const float rate = step.lr / step.bias1;
    const float root = 1.0f / __builtin_sqrtf(step.bias2);
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t begin = 0; begin < count; begin += block) {
        const int64_t end = begin + block < count ? begin + block : count;
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) {
            const float g = gradient[i] * step.grad_scale;
            first[i] = step.beta1 * first[i] + (1.0f - step.beta1) * g;
            second[i] = step.beta2 * second[i] + (1.0f - step.beta2) * g * g;
            p[i] = p[i] * keep - rate * first[i] / (__builtin_sqrtf(second[i]) * root + step.eps);
        }
        if (weights) store_rounded(weights, begin, p + begin, end - begin);
    }
}

void round_weights(Stream& stream, Tensor weights, Tensor params) {
    const int64_t count = params.numel();
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t begin = 0; begin < count; begin += block)
        store_rounded(weights, begin, params.f32() + begin, begin + block < count ? block : count - begin);
}

// A fixed number of parts, whatever the number of threads, added in their order.
double sum_of_squares(Stream& stream, Tensor x) {
    constexpr int64_t parts = 256;
    const int64_t count = x.numel(), length = ((count + parts - 1) / parts + 15) / 16 * 16;
    const float* const data = x.f32();
    double partial[parts];
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t part = 0; part < parts; ++part) {
        const int64_t begin = part * length < count ? part * length : count;
        const int64_t end = begin + length < count ? begin + length : count;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = begin; i < end; ++i)
            sum += static_cast<double>(data[i]) * static_cast<double>(data[i]);
        partial[part] = sum;
    }
    double total = 0;
    for (double sum : partial) total += sum;
    return total;
}

}  // namespace templar::TEMPLAR_ISA
