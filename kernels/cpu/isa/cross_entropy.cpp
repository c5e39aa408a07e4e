// loss_i = log Σ_v e^(z_iv) - z_i,label; d(logits) = scale·(softmax - onehot). Rows with a label below 0 are
// ignored.
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/isa/simd.h"

#include <cmath>
#include <cstring>

namespace templar::TEMPLAR_ISA {

namespace {

float row_max(const float* z, int64_t vocab) {
    float max = z[0];
#pragma omp simd reduction(max : max)
    for (int64_t v = 0; v < vocab; ++v) max = z[v] > max ? z[v] : max;
    return max;
}

// Σ e^(z - max), written to `out` where that is given: pieces in fp32, their sum in double.
double row_exp_sum(float* out, const float* z, int64_t vocab, float max) {
    constexpr int64_t piece = 1024;
    double sum = 0;
    for (int64_t begin = 0; begin < vocab; begin += piece) {
        const int64_t end = begin + piece < vocab ? begin + piece : vocab;
        float partial = 0;
        if (out) {
#pragma omp simd reduction(+ : partial)
            for (int64_t v = begin; v < end; ++v) {
                const float e = fast_exp(z[v] - max);
                out[v] = e;
                partial += e;
            }
        } else {
#pragma omp simd reduction(+ : partial)
            for (int64_t v = begin; v < end; ++v) partial += fast_exp(z[v] - max);
        }
        sum += static_cast<double>(partial);
    }
    return sum;
}

float loss_of(double sum, float max, float label_logit) {
    return static_cast<float>(std::log(sum) + (static_cast<double>(max) - static_cast<double>(label_logit)));
}

}  // namespace

void cross_entropy_forward(Stream& stream, Tensor losses, Tensor logits, Tensor labels) {
    cross_entropy_and_greedy(stream, losses, {}, logits, labels);
}

void cross_entropy_and_greedy(Stream& stream, Tensor losses, Tensor greedy, Tensor logits, Tensor labels) {
    const int64_t rows = labels.numel(), vocab = logits.last();
    float* const loss = losses.f32();
    uint8_t* const most_likely = greedy.u8();
    const float* const data = logits.f32();
    const int32_t* const label = labels.i32();
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t i = 0; i < rows; ++i) {
        loss[i] = 0;
        if (most_likely) most_likely[i] = 0;
        if (label[i] < 0) continue;
        const float* const z = data + i * vocab;
        const float max = row_max(z, vocab), label_logit = z[label[i]];
        loss[i] = loss_of(row_exp_sum(nullptr, z, vocab, max), max, label_logit);
        if (most_likely) most_likely[i] = label_logit == max;
    }
}

void cross_entropy_fused(Stream& stream, Tensor losses, Tensor logits, Tensor labels, float scale) {
    const int64_t rows = labels.numel(), vocab = logits.last();
    float* const loss = losses.f32();
    float* const data = logits.f32();
    const int32_t* const label = labels.i32();
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t i = 0; i < rows; ++i) {
        float* const z = data + i * vocab;
        if (label[i] < 0) {
            loss[i] = 0;
            std::memset(z, 0, vocab * sizeof(float));
            continue;
        }
        const float max = row_max(z, vocab), label_logit = z[label[i]];
        const double sum = row_exp_sum(z, z, vocab, max);
        loss[i] = loss_of(sum, max, label_logit);
        const float factor = static_cast<float>(static_cast<double>(scale) / sum);
#pragma omp simd
        for (int64_t v = 0; v < vocab; ++v) z[v] *= factor;
        z[label[i]] -= scale;
    }
}

}  // namespace templar::TEMPLAR_ISA
