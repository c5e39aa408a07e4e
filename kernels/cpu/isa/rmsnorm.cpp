// y = x·w·rstd, rstd = 1/sqrt(mean(x²) + eps).
// With z = x·rstd: dx = rstd·(w·dy - z·mean(w·dy·z)), dw = Σ_rows dy·z.
#include "kernels/cpu/isa/model_ops.h"

namespace templar::TEMPLAR_ISA {

namespace {

float normalise_row(float* y, const float* x, const float* weight, int64_t channels, float eps) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < channels; ++c) squares += x[c] * x[c];
    const float rstd = 1.0f / __builtin_sqrtf(squares / static_cast<float>(channels) + eps);
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) y[c] = x[c] * rstd * weight[c];
    return rstd;
}

void backward_row(float* dx, const float* dy, const float* dresidual, const float* x, const float* weight,
                  float rstd, int64_t channels) {
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t c = 0; c < channels; ++c) dot += weight[c] * dy[c] * x[c];
    const float pull = dot * rstd * rstd * rstd / static_cast<float>(channels);
    if (dresidual) {
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c)
            dx[c] = dresidual[c] + (weight[c] * dy[c] * rstd - x[c] * pull);
    } else {
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) dx[c] = weight[c] * dy[c] * rstd - x[c] * pull;
    }
}

// dweight of `width` channels: sums of 64 rows first, so that the error does not grow with the number of
// rows.
constexpr int64_t strip = 64;
void weight_strip(float* dweight, const float* dy, const float* x, const float* rstd, int64_t rows,
                  int64_t channels, int64_t width) {
    for (int64_t begin = 0; begin < rows; begin += 64) {
        const int64_t end = begin + 64 < rows ? begin + 64 : rows;
        float sums[strip] = {};
        for (int64_t i = begin; i < end; ++i) {
            const float* const dy_row = dy + i * channels;
            const float* const x_row = x + i * channels;
#pragma omp simd
            for (int64_t c = 0; c < width; ++c) sums[c] += dy_row[c] * (x_row[c] * rstd[i]);
        }
        for (int64_t c = 0; c < width; ++c) dweight[c] += sums[c];
    }
}

}  // namespace

void rmsnorm_forward(Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps) {
    const int64_t rows = x.rows(), channels = x.last();
    float* const out = y.f32();
    float* const scale = rstd.f32();
    const float* const in = x.f32();
    const float* const w = weight.f32();
#pragma omp parallel for num_threads(stream.threads) if (rows > 1)
    for (int64_t i = 0; i < rows; ++i)
        scale[i] = normalise_row(out + i * channels, in + i * channels, w, channels, eps);
}

void add_rmsnorm_forward(Stream& stream, Tensor sum, Tensor y, Tensor rstd, Tensor a, Tensor b, Tensor weight,
                         float eps) {
    const int64_t rows = a.rows(), channels = a.last();
    float* const total = sum.f32();
    float* const out = y.f32();
    float* const scale = rstd.f32();
    const float* const left = a.f32();
    const float* const right = b.f32();
    const float* const w = weight.f32();
#pragma omp parallel for num_threads(stream.threads) if (rows > 1)
    for (int64_t i = 0; i < rows; ++i) {
        float* const row = total + i * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) row[c] = left[i * channels + c] + right[i * channels + c];
        scale[i] = normalise_row(out + i * channels, row, w, channels, eps);
    }
}

void rmsnorm_backward(Stream& stream, Tensor dx, Tensor dweight, Tensor dy, Tensor dresidual, Tensor x,
                      Tensor weight, Tensor rstd) {
    const int64_t rows = x.rows(), channels = x.last();
    float* const out = dx.f32();
    float* const dw = dweight.f32();
    const float* const gradient = dy.f32();
    const float* const residual = dresidual.f32();
    const float* const in = x.f32();
    const float* const w = weight.f32();
    const float* const scale = rstd.f32();
#pragma omp parallel num_threads(stream.threads)
    {
        // The weight first: dx may be written over dy.
#pragma omp for
        for (int64_t c = 0; c < channels; c += strip)
            weight_strip(dw + c, gradient + c, in + c, scale, rows, channels,
                         c + strip < channels ? strip : channels - c);
#pragma omp for
        for (int64_t i = 0; i < rows; ++i)
            backward_row(out + i * channels, gradient + i * channels,
                         residual ? residual + i * channels : nullptr, in + i * channels, w, scale[i],
                         channels);
    }
}

}  // namespace templar::TEMPLAR_ISA
