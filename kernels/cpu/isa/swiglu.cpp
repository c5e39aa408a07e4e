// act = silu(gate)·up, silu(g) = g·s, s = 1/(1 + e^-g).
// d(gate) = dact·up·s·(1 + g·(1 - s)), d(up) = dact·g·s.
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/isa/simd.h"

namespace templar::TEMPLAR_ISA {

void swiglu_forward(Stream& stream, Tensor act, Tensor gate_up) {
    const int64_t rows = act.rows(), features = act.last();
    float* const out = act.f32();
    const float* const in = gate_up.f32();
#pragma omp parallel for num_threads(stream.threads) if (rows > 1)
    for (int64_t i = 0; i < rows; ++i) {
        const float* const gate = in + i * 2 * features;
        const float* const up = gate + features;
        float* const row = out + i * features;
#pragma omp simd
        for (int64_t f = 0; f < features; ++f) row[f] = gate[f] / (1.0f + fast_exp(-gate[f])) * up[f];
    }
}

void swiglu_backward(Stream& stream, Tensor dgate_up, Tensor dact, Tensor gate_up) {
    const int64_t rows = dact.rows(), features = dact.last();
    float* const out = dgate_up.f32();
    const float* const gradient = dact.f32();
    const float* const in = gate_up.f32();
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t i = 0; i < rows; ++i) {
        const float* const gate = in + i * 2 * features;
        const float* const up = gate + features;
        const float* const d = gradient + i * features;
        float* const dgate = out + i * 2 * features;
        float* const dup = dgate + features;
#pragma omp simd
        for (int64_t f = 0; f < features; ++f) {
            const float g = gate[f], u = up[f];
            const float s = 1.0f / (1.0f + fast_exp(-g));
            dgate[f] = d[f] * u * s * (1.0f + g * (1.0f - s));
            dup[f] = d[f] * g * s;
        }
    }
}

}  // namespace templar::TEMPLAR_ISA
